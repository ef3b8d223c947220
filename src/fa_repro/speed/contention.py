"""Whether other programs took the processor from a measurement: how long our threads waited for a core."""

import os
from pathlib import Path

# Share of their time that threads waited for a core, from which on nothing is concluded: the tightest limit here,
# 1.05, is as far from 1.
DISTURBED = 0.05
TASKS = Path("/proc/self/task")  # Linux alone has it


class Contention:
    """The share of its time that this process's threads have waited for a core, over any number of spells."""

    def __init__(self) -> None:
        self._ran = self._waited = 0
        self._before: dict[str, tuple[int, int]] | None = None
        self._known = True

    def __enter__(self) -> "Contention":
        """Begin a spell."""
        self._before = _threads()
        return self

    def __exit__(self, *error: object) -> None:
        """End it."""
        after = _threads()
        if self._before is None or after is None:
            self._known = False
            return
        for thread, (ran, waited) in after.items():
            ran_before, waited_before = self._before.get(thread, (0, 0))
            self._ran += ran - ran_before
            self._waited += waited - waited_before

    @property
    def share(self) -> float | None:
        """Waiting, as a share of running and waiting; None where the system doesn't tell (it does on Linux)."""
        total = self._ran + self._waited
        return self._waited / total if self._known and total > 0 else None


def _threads() -> dict[str, tuple[int, int]] | None:
    """Return, for each thread of this process, the nanoseconds that it ran and that it waited for a core.

    They are the first two figures of ``/proc/PID/task/TID/schedstat`` (Linux, Documentation/scheduler/sched-stats).
    """
    found = {}
    try:
        threads = os.listdir(TASKS)
    except OSError:
        return None
    for thread in threads:
        try:
            ran, waited, _ = (TASKS / thread / "schedstat").read_text().split()
        except (OSError, ValueError):  # it has ended, or the kernel keeps no such statistics
            continue
        found[thread] = int(ran), int(waited)
    return found or None


def words(share: float | None) -> str:
    """Return a sentence on what ``share`` of waiting means for the figures."""
    if share is None:
        return "Whether other programs were at work meanwhile is not known on this system."
    if share > DISTURBED:
        return (
            f"The machine was busy with other programs: this one waited for a core {100 * share:.0f} % of its time. "
            f"Nothing can be concluded from these figures; measure on an idle machine."
        )
    return f"This program waited for a core {100 * share:.1f} % of its time: no other program here was in its way."
