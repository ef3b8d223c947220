"""What a training goes on from: weights, optimiser and history after the last whole epoch, until the run is done."""

import time

import torch

from fa_repro.errors import InputError
from fa_repro.rundir import RunDir
from fa_repro.training.trainer import PRECISIONS, Trainer

FILE = ".resume.pt"
# Where epochs are short and networks large, keeping the state would take a good part of the time: then it is kept after
# some epochs alone, for no more than this share of it. What takes less than CHEAP seconds is done after every epoch.
SHARE, CHEAP = 0.05, 0.05


class Resume:
    """The file in a run directory that holds a trainer's state."""

    def __init__(self, rundir: RunDir, trainer: Trainer) -> None:
        """Belong to ``trainer``, whose run directory is started."""
        self._rundir, self._trainer = rundir, trainer
        self._saved, self._took = 0.0, 0.0  # when it was last kept, on the monotonic clock, and the seconds that took
        # What a config does not settle and an epoch's last digits hang on.
        self._made = {
            "device": trainer.device.type,
            "precision": PRECISIONS[trainer.precision],
            "processes": trainer.world.size,
            "steps": "compiled" if trainer.compiled else "eager",
            "torch": str(torch.__version__),
        }
        if trainer.device.type == "cpu":  # a gradient is summed in as many parts
            self._made["threads"] = torch.get_num_threads()

    def take_over(self) -> bool:
        """Restore what an earlier start of the run has kept; return whether there was anything.

        Raises:
            InputError: the file is damaged, or was made on another kind of device, in another precision, by another
                number of processes or of a CPU's threads, compiled and not so here, or by another torch.

        """
        path = self._rundir.path / FILE
        if not path.exists():
            return False
        try:
            # On the CPU: AdamW's step counters stay where they are loaded to, and on a GPU it waits for each of them.
            state = torch.load(path, map_location="cpu", weights_only=True)
            self._trainer.restore(state)
            made = state["made"]
        except (MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # torch raises what its zip and pickle readers raise
            reason = f"{path}: can't be gone on from ({type(error).__name__})"
            raise InputError(f"{reason}. Give overwrite=true to start anew.") from None
        for key, value in self._made.items():
            there = made.get(key, "unknown")
            if there != value:
                raise InputError(
                    f"{path}: {key} {there} there, {value} here, which trains otherwise. Go on as it began, or give "
                    f"overwrite=true to start anew."
                )
        return True

    def save(self) -> None:
        """Keep the trainer's state, unless it was kept too lately for what that costs."""
        began = time.monotonic()
        if self._took > CHEAP and began - self._saved < self._took / SHARE:
            return
        self._rundir.write(FILE, lambda file: torch.save(self._trainer.state() | {"made": self._made}, file))
        self._saved = time.monotonic()
        self._took = self._saved - began

    def clear(self) -> None:
        """Remove the file; called once the run is done."""
        (self._rundir.path / FILE).unlink(missing_ok=True)
