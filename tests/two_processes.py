"""Run by torchrun from test_distributed.py: the same training in one process and shared by all of them."""

import json
import os
import sys
from pathlib import Path
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import nn

from fa_repro.data import ImageSet
from fa_repro.errors import InputError
from fa_repro.models import Task, build_model
from fa_repro.training import Trainer, World, evaluate, joined
from tiny import FA_CNN, RECIPE, RESNET

STEPS = 20
REMOVING = RECIPE | {
    "epochs": 3,
    "batch_size": 16,
    "lr": 0.003,
    "weight_decay": 0.05,
    "schedule": "onecycle",
    "warmup": 0.25,
    "label_smoothing": 0.1,
    "augment": {"crop": 1, "flip": True, "cutout": 0, "removal": 0.5},
}
# Of a weight at which a network that has learned little shows it: its divergence is some 0.0001 nat.
LOCAL = REMOVING | {"locality": 100.0}
CASES = {"resnet": (RESNET, REMOVING), "fa_cnn": (FA_CNN, REMOVING), "locality": (FA_CNN, LOCAL)}


class FrozenNorm(nn.BatchNorm2d):
    """Batch norm by its running statistics, in training too: statistics of a share are not those of the batch."""

    def train(self, mode: bool = True):
        return super().train(False)


def freeze(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenNorm(child.num_features).eval())
        else:
            freeze(child)


def trainer(world: World, frozen: bool, case: str = "resnet") -> Trainer:
    config, recipe = CASES[case]
    generator = torch.Generator().manual_seed(5)
    n = 16 * STEPS + 3
    images = torch.randint(0, 256, (n, 3, 8, 8), dtype=torch.uint8, generator=generator)
    data = ImageSet(images, torch.arange(n) % 3, torch.arange(n), ("a", "b", "c"))
    torch.manual_seed(world.rank)  # rank 0's weights must win
    model = build_model(config, Task(3, 3, 8, [0.5] * 3, [0.2] * 3))
    if frozen:
        freeze(model)
    return Trainer(model, data, data.select(torch.arange(0, n, 2)), recipe, torch.full((3,), 0.5), 0, world)


def losses(run: Trainer) -> list[float]:
    """Every step's loss over the whole batch, in the first epoch."""
    seen = []
    step = run.step

    def watched(images, labels, removed):
        loss = step(images, labels, removed)
        seen.append(run.world.sum(loss).item() / run.world.size)
        return loss

    run.step = watched  # type: ignore[method-assign]
    run.history.append(run.epoch(1))
    run.step = step  # type: ignore[method-assign]
    return seen


def buffers(model: nn.Module) -> torch.Tensor:
    return torch.cat([buffer.flatten().float() for buffer in model.buffers()])


def everyones(values: torch.Tensor) -> list[torch.Tensor]:
    gathered = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, values)
    return gathered


def main(folder: Path) -> None:
    with joined(torch.device("cpu")) as world:
        assert world.size == 2
        together = trainer(world, frozen=True)
        found = {"together": losses(together), "history": together.history}
        # Stopped here and gone on with: rank 1 gets what rank 0 wrote.
        if world.leads:
            torch.save(together.state(), folder / "state.pt")
        world.wait()
        resumed = trainer(world, frozen=True)
        with torch.no_grad():  # nothing of it may count
            for parameter in resumed.model.parameters():
                parameter.zero_()
        resumed.restore(torch.load(folder / "state.pt", weights_only=True))
        together.fit(lambda: None)
        resumed.fit(lambda: None)
        found["resumed_equal"] = all(
            torch.equal(a, b) for a, b in zip(together.model.parameters(), resumed.model.parameters(), strict=True)
        )
        # Without freezing, the ranks' running statistics differ until they are pooled.
        before, pool = [], World.pool
        with patch.object(World, "pool", lambda w, model: (before.append(everyones(buffers(model))), pool(w, model))):
            normal = trainer(world, frozen=False)
            first = next(layer for layer in normal.model.modules() if isinstance(layer, nn.BatchNorm2d))
            own = [first.running_mean.clone()]  # by what this process saw alone

            def follow(layer, inputs):
                if layer.training:
                    own.append(own[-1].lerp(inputs[0].detach().mean((0, 2, 3)), layer.momentum))

            first.register_forward_pre_hook(follow)
            normal.epoch(1)
        ((one, other),), after = before, everyones(buffers(normal.model))
        expected = torch.stack(everyones(own[-1])).mean(0)
        found["first_layer"] = [len(own) - 1, (first.running_mean - expected).abs().max().item()]
        found["buffers_equal"] = torch.equal(*after)
        found["pooled"] = [(after[0] - (one + other) / 2).abs().max().item(), (one - other).abs().max().item()]
        score = evaluate(normal.model, normal.val, world=world)
        # Rank 0 is refused before the others begin.
        said = ""
        try:
            with world.leader_first():
                said = "let through"
                if world.leads:
                    raise InputError("no data")
        except InputError as error:
            said = str(error)
        found["refused"] = [None] * world.size
        dist.all_gather_object(found["refused"], said)
        others = [case for case in CASES if case != "resnet"]
        found["others"] = {case: losses(trainer(world, frozen=True, case=case)) for case in others}
        if world.leads:
            found["others_alone"] = {case: losses(trainer(World(), frozen=True, case=case)) for case in others}
            alone = trainer(World(), frozen=True)
            found["alone"], found["history_alone"] = losses(alone), alone.history
            unfrozen = trainer(World(), frozen=False)
            found["unfrozen_alone"] = losses(unfrozen)
            found["score"], found["score_alone"] = score, evaluate(normal.model, normal.val)
            (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    sys.stderr.flush()
    os._exit(0)  # as the command line does, and why: cli.py
