"""How a result was made: words, machine, versions, commit, memory and duration."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

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


PROGRAM = """
import sys
from fa_repro.provenance import provenance
sys.argv = ["fa-repro", "train"]
def peak():
    return provenance(["fa-repro"], "a device", 0.0, {}, None)["peak_memory_mib"]
before = peak()
len(b"x" * (200 * 2**20))  # gone at once, but it was there
print(before, peak())
"""


def test_provenance_tells_the_most_memory_that_was_taken():
    # A process begins with the peak of the one that it came from: a shell's is small.
    words = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", PROGRAM]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    before, after = map(int, told.split())
    assert 5 < before < 200 and before + 150 < after < before + 300


def test_memory_is_told_in_mebibytes_on_every_system_that_tells_it(monkeypatch):
    usage = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _: SimpleNamespace(ru_maxrss=3 * 2**20))
    monkeypatch.setitem(sys.modules, "resource", usage)
    for system, told in (("linux", 3 * 2**10), ("darwin", 3)):  # KiB, bytes
        monkeypatch.setattr(sys, "platform", system)
        assert source._peak_memory() == told
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows
    assert source._peak_memory() is None


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


def test_a_copy_installed_into_another_projects_checkout_has_no_commit(provenance, monkeypatch, tmp_path):
    assert provenance()["git"] is not None or not (Path(fa_repro.__file__).parents[2] / ".git").exists()
    copy = tmp_path / ".venv" / "provenance.py"
    copy.parent.mkdir()
    copy.write_text("")
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "a"],
    ):
        subprocess.run(["git", "-C", tmp_path, *words], check=True)
    monkeypatch.setattr(source, "__file__", str(copy))
    assert provenance()["git"] is None
    subprocess.run(["git", "-C", tmp_path, "add", str(copy)], check=True)
    assert provenance()["git"] is not None


@pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.CalledProcessError(128, "git")])
def test_provenance_outside_a_checkout_has_no_commit(provenance, monkeypatch, error):
    def run(*_, **__):
        raise error

    monkeypatch.setattr(source.subprocess, "run", run)
    assert provenance()["git"] is None
