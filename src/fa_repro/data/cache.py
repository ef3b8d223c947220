"""Decoded images on disk, so that the second start takes a second."""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from fa_repro.files import replacing


def cache_folder(configured: str | None) -> Path:
    """Return ``data.cache``, or the user's cache folder."""
    if configured is not None:
        return Path(configured)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fa-repro"


def cached(folder: Path, key: Any, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what ``make`` returns, from the cache if ``key`` was made before.

    Args:
        folder: of the cache; made if missing.
        key: JSON-able, everything that the result depends on.
        make: returns tensors and plain values.

    A damaged or unreadable cache file is made anew; a cache that can't be written costs time, not the run.

    """
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:24]
    path = folder / f"{name}.pt"
    try:
        return torch.load(path, weights_only=True, mmap=True)
    except OSError:  # not there, or out of reach: writing will say so
        pass
    except Exception as error:  # torch raises what its zip and pickle readers raise
        print(f"fa-repro: {path} is damaged and made anew ({type(error).__name__}).", file=sys.stderr)
    made = make()
    try:
        with replacing(path) as temporary:
            torch.save(made, temporary)
    except (OSError, RuntimeError) as error:  # torch's writer turns a full disk into a RuntimeError
        reason = getattr(error, "strerror", None) or "it can't be written"
        print(f"fa-repro: no cache in {folder} ({reason}); give data.cache=DIR.", file=sys.stderr)
    return made
