"""Files that ``torch.save`` wrote, read without running anything that they hold."""

from pathlib import Path
from typing import Any

import torch

from fa_repro.errors import InputError


def read_saved(path: Path, key: str, expected: str, wrong: str, way_out: str = "") -> Any:
    """Return what the file holds: plain values and tensors, on the CPU.

    Args:
        path: of the file.
        key: of the config, by which it was named.
        expected: a sentence on what to give, where there is no such file.
        wrong: what a file is that can't be read.
        way_out: a sentence on what to do about it.

    Raises:
        InputError: there is no such file, or it can't be read.

    """
    if not path.is_file():
        raise InputError(f"{key}={path}: no such file. {expected}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # torch raises what its zip and pickle readers raise
        raise InputError(f"{key}={path}: {wrong} ({type(error).__name__}). {way_out}".rstrip()) from None
