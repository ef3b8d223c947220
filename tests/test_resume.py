"""How often a training's state is kept: after every epoch, unless that would take much of the time; and its reading."""

from types import SimpleNamespace

import pytest
import torch

from fa_repro.errors import InputError
from fa_repro.training import World, resume


class Written:
    """A run directory that notes what is written, at ``cost`` seconds each."""

    def __init__(self, clock, cost):
        self.clock, self.cost, self.epochs = clock, cost, []

    def write(self, name, save):
        self.epochs.append(self.clock["epoch"])
        self.clock["now"] += self.cost


@pytest.mark.parametrize(
    ("cost", "kept"),
    [(0.04, [1, 2, 3, 4, 5, 6, 7, 8]), (0.09, [1, 3, 5, 7]), (0.19, [1, 5]), (10.0, [1])],
    ids=["cheap", "every other", "every fourth", "dear"],
)
def test_a_state_is_kept_as_often_as_its_cost_allows(monkeypatch, cost, kept):
    clock = {"now": 100.0, "epoch": 0}
    monkeypatch.setattr(resume.time, "monotonic", lambda: clock["now"])
    rundir = Written(clock, cost)
    trainer = SimpleNamespace(device=torch.device("cpu"), precision=torch.float32, world=World(), compiled=False)
    state = resume.Resume(rundir, trainer)
    for epoch in range(1, 9):  # of a second each
        clock["now"] += 1.0
        clock["epoch"] = epoch
        state.save()
    assert rundir.epochs == kept


@pytest.mark.parametrize("error", [MemoryError("no room"), torch.OutOfMemoryError("no room")])
def test_a_state_for_which_memory_is_lacking_is_not_called_damaged(tmp_path, monkeypatch, error):
    (tmp_path / resume.FILE).write_bytes(b"a state")
    trainer = SimpleNamespace(device=torch.device("cpu"), precision=torch.float32, world=World(), compiled=False)
    state = resume.Resume(SimpleNamespace(path=tmp_path), trainer)
    with pytest.raises(InputError, match="can't be gone on from"):
        state.take_over()

    def load(*_, **__):
        raise error

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(type(error), match="no room"):
        state.take_over()
