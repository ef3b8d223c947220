"""Refusals: one clear line in an InputError; from the program on stderr, with exit code 2."""

from pathlib import Path

import pytest

from fa_repro.errors import InputError


def refusal(act, *words) -> str:
    """Return the line with which ``act(*words)`` refuses."""
    with pytest.raises(InputError) as caught:
        act(*words)
    message = str(caught.value)
    assert message and "\n" not in message
    return message


def assert_refused(answer, folder: Path) -> str:
    """Return the line with which the program refused, leaving nothing in the folder."""
    assert answer.code == 2
    assert answer.out == ""
    lines = answer.err.splitlines()
    assert len(lines) == 1, answer.err
    assert lines[0].startswith("fa-repro: ")
    assert "Traceback" not in answer.err
    assert list(folder.iterdir()) == []
    return lines[0].removeprefix("fa-repro: ")
