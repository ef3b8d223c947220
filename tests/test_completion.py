"""The shell's completion of subcommands, keys and choices."""

import re

import pytest

from commands import SUBCOMMANDS


def completions(cli, monkeypatch, line: str) -> set[str]:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    code, out, err = cli("-sc", "query=bash")
    assert (code, err) == (0, "")
    return set(out.split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fa-repro tr", {"train"}),
        ("fa-repro ", set(SUBCOMMANDS)),
        ("fa-repro", set(SUBCOMMANDS)),
        ("fa-repro x", set()),
        ("fa-repro xyz mod", set()),
    ],
)
def test_completion_of_the_subcommand(cli, monkeypatch, line, expected):
    assert completions(cli, monkeypatch, line) == expected


def test_completion_of_keys_and_choices(cli, monkeypatch):
    assert "model=" in completions(cli, monkeypatch, "fa-repro train mod")
    assert completions(cli, monkeypatch, "fa-repro train model=resnet") == {
        "model=resnet18",
        "model=resnet_small",
        "model=resnet_whitened",
    }
    assert completions(cli, monkeypatch, "fa-repro benchmark-removal seed=1 ups") == {"upsampling="}
    assert completions(cli, monkeypatch, "fa-repro train ups") == set()


def test_completion_installs_for_our_program(cli):
    code, out, err = cli("-sc", "install=bash")
    assert (code, err) == (0, "")
    assert re.search(r"complete .*-F \w+ fa-repro$", out, re.MULTILINE)
