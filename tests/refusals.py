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


def one_line(answer) -> str:
    """Return the line with which the program refused, on stderr and with exit code 2."""
    code, out, err = answer
    assert code == 2, err
    assert err.startswith("fa-repro: ") and err.count("\n") == 1 and err.endswith("\n"), err
    assert "Traceback" not in out + err
    return err.removeprefix("fa-repro: ").rstrip("\n")


def assert_refused(answer, folder: Path) -> str:
    """Return the line with which the program refused, leaving nothing in the folder."""
    assert answer.out == ""
    line = one_line(answer)
    assert list(folder.iterdir()) == []
    return line
