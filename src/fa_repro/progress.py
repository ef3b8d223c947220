"""A long measurement, part by part: what has been found is kept in the run directory until the run is done.

A part's figures must depend on nothing but its name, the run's config and the batch size, so that a run that was
stopped ends with the same figures, bit for bit, in whatever order its parts were found.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fa_repro import __version__
from fa_repro.errors import InputError
from fa_repro.rundir import RunDir

Part = dict[str, Tensor]
Keep = Callable[[str, Callable[[], Part]], Part]  # a part's name and what finds it, to the part

FORMAT = 1
SECONDS = 20.0  # between two files: what a kill costs at most, beside the part that it stopped
_PATTERN = ".progress-*.pt"


class Progress:
    """The parts of one run; as a context manager it writes down what it holds on leaving, for whatever reason.

    Attributes:
        parts: by name, those found so far, in this start or an earlier one.
        seconds: that earlier starts have taken for them.
        left_aside: how many parts an earlier start found with another batch size.

    """

    def __init__(self, rundir: RunDir, device: torch.device, batch_size: int) -> None:
        """Take over what earlier starts of the same run have found.

        Args:
            rundir: started.
            device: of the run; another kind of device rounds otherwise.
            batch_size: of the run; with another one, a part of the same name is of other images.

        Raises:
            InputError: a file of it is damaged, or of another run, device or version.

        """
        self._rundir = rundir
        self._stamp = {
            "format": FORMAT,
            "run": rundir.fingerprint,
            "device": device.type,
            "torch": str(torch.__version__),
            "fa-repro": __version__,
            "batch_size": batch_size,
        }
        self.parts: dict[str, Part] = {}
        self.seconds = 0.0
        self.left_aside = 0
        files = sorted(rundir.path.glob(_PATTERN))
        for file in files:
            self._take(file)
        self._number = 1 + max((int(file.name.split("-")[1].removesuffix(".pt")) for file in files), default=-1)
        self._new: dict[str, Part] = {}
        self._written = time.monotonic()

    def _take(self, file: Path) -> None:
        again = "Remove it, and what it holds is measured again."
        try:
            content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
            stamp, parts, seconds = content["stamp"], content["parts"], content["seconds"]
            other = [key for key in self._stamp if stamp.get(key) != self._stamp[key]]
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # torch raises what its zip and pickle readers raise
            raise InputError(f"{file}: can't be gone on from ({type(error).__name__}). {again}") from None
        if other == ["batch_size"]:  # whose memory was gone, say; the file stays, for who goes back to that size
            self.left_aside += len(parts)
            return
        if other:
            words = "is of another run" if other[0] in ("format", "run") else f"was made with another {other[0]}"
            detail = f" ({other[0]}: {stamp.get(other[0])} there, {self._stamp[other[0]]} here)"
            raise InputError(f"{file}: {words}{detail}. {again}")
        self.parts |= parts
        self.seconds += seconds

    def part(self, name: str, find: Callable[[], Part]) -> Part:
        """Return the part called ``name``: as it was kept, or as ``find`` finds it now."""
        if name not in self.parts:
            self.parts[name] = self._new[name] = find()
            if time.monotonic() - self._written > SECONDS:
                self._write()
        return self.parts[name]

    def within(self, section: str) -> Keep:
        """Return `part` for the names of one section, such as one of several networks."""
        return lambda name, find: self.part(f"{section}, {name}", find)

    def _write(self) -> None:
        if not self._new:
            return
        now = time.monotonic()
        # Until here they stay on the device, so that no part waits for it. Whoever has a part has it from the CPU then.
        for part in self._new.values():
            part.update({key: value.cpu() for key, value in part.items()})
        content = {"stamp": self._stamp, "parts": self._new, "seconds": now - self._written}
        self._rundir.write(f".progress-{self._number:04}.pt", lambda file: torch.save(content, file))
        self._number += 1
        self._new, self._written = {}, now

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._write()

    def clear(self) -> None:
        """Remove everything; called once the run is done."""
        for file in self._rundir.path.glob(_PATTERN):
            file.unlink(missing_ok=True)
