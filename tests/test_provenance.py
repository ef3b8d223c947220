"""How a result was made: words, machine, versions, commit, memory and duration."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import fa_repro
from fa_repro import provenance as source
from fa_repro.rundir import RunDir


@pytest.fixture
def provenance(config, monkeypatch):
    def read(argv=("fa-repro train", "seed=4"), seconds=None, inputs=None) -> dict:
        monkeypatch.setattr(sys, "argv", list(argv))
        run = RunDir(config(overwrite=True), "train", "run", inputs)
        run.finish("a device", exit_code=0, seconds=seconds)
        return json.loads((run.path / "provenance.json").read_text())

    return read


def test_provenance_says_what_ran_on_what(provenance):
    told = provenance(inputs={"checkpoint": "abcd"})
    assert told["command"] == "fa-repro train seed=4"
    assert (told["seed"], told["device"], told["exit_code"]) == (4, "a device", 0)
    assert told["inputs"] == {"checkpoint": "abcd"}
    assert told["python"] == ".".join(map(str, sys.version_info[:3]))
    assert told["packages"]["fa-repro"] == fa_repro.__version__
    assert {"torch", "torchvision", "numpy", "hydra-core", "matplotlib", "pandas", "pillow"} <= set(told["packages"])
    assert all(told["packages"].values())
    assert told["finished"].endswith("+00:00") and told["platform"]
    assert 0 <= told["seconds"] < 60


def test_provenance_tells_the_most_memory_that_was_taken(provenance):
    before = provenance()["peak_memory_mib"]
    assert len(b"x" * ((before + 200) * 2**20)) > 0  # gone at once, but it was there
    assert before + 200 <= provenance()["peak_memory_mib"] <= 2 * before + 400


def test_provenance_takes_the_duration_of_all_starts(provenance):
    assert provenance(seconds=1234.56)["seconds"] == 1234.6


@pytest.mark.parametrize(
    "words",
    [
        ["data.root=/d/my photos", "model.blocks=[1,1]"],
        ["trainer.augment.flip=${data.mirror}", "seed=4"],
        ["data.root=/d/Ann's"],
        ["data.root=/d/Ann's photos"],
        ["data.root=a;b", "name=a&b"],
        ['data.root="x"', "name=a\\b"],
    ],
)
def test_provenance_names_the_words_as_a_shell_takes_them(provenance, words):
    lexer = shlex.shlex(provenance(["fa-repro train", *words])["command"], posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    assert list(lexer) == ["fa-repro", "train", *words]


def answers(monkeypatch, status: str) -> list[list[str]]:
    asked = []

    def run(words, **_):
        asked.append(words)
        return subprocess.CompletedProcess(words, 0, "c0ffee\n" if "rev-parse" in words else status, "")

    monkeypatch.setattr(source.subprocess, "run", run)
    return asked


@pytest.mark.parametrize(("status", "dirty"), [("", False), ("\n", False), (" M src/fa_repro/cli.py\n", True)])
def test_provenance_names_the_commit_and_whether_it_was_changed(provenance, monkeypatch, status, dirty):
    asked = answers(monkeypatch, status)
    assert provenance()["git"] == {"commit": "c0ffee", "dirty": dirty}
    # Asked of the source tree that runs, wherever it is run from; and of what makes the result alone.
    assert all(words[:3] == ["git", "-C", str(Path(source.__file__).parent)] for words in asked)
    assert asked[-1][-2:] == [":/src", ":/configs"]


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.CalledProcessError(128, "git")])
def test_provenance_outside_a_checkout_has_no_commit(provenance, monkeypatch, error):
    def run(*_, **__):
        raise error

    monkeypatch.setattr(source.subprocess, "run", run)
    assert provenance()["git"] is None
