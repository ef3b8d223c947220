"""What the user gave is wrong: one clear line, exit code 2, no traceback."""

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """A config, file, checkpoint, image or data folder that can't be used.

    The message is one line: what is wrong, then what to do. The command line prints it and exits with 2.
    """


def first_line(error: BaseException) -> str:
    """Return ``Type: message`` of an error, its first line alone; torch's can be pages long."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` Did you mean X?`` for the known word nearest to ``word``, or an empty string."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]}?" if near else ""
