"""A training's steps through torch's compiler: when that pays, and whether this machine can.

Compiled, the element-wise work between the convolutions is fused, and a step reads and writes its feature maps less
often. The steps are the same up to rounding, and compiled anew they are the same bit for bit, so that a training that
goes on ends where an unbroken one does.
"""

import contextlib
from collections.abc import Iterator
from functools import cache

import torch
from torch import nn

from fa_repro.errors import InputError, first_line
from fa_repro.training.distributed import World
from fa_repro.training.macs import count_macs

# Multiply-adds of a training's forward passes from which on it pays to compile. On 2 cores an FA-CNN's steps do some
# 2e10 a second, compiling them takes some 75 s and then saves them a quarter of their time: even at 6e12.
WORTH = 1e13


def choose_compile(
    word: str, model: nn.Module, images: torch.Size, passes: int, device: torch.device, world: World
) -> bool:
    """Return whether a training's steps are compiled, for ``always``, ``never`` or ``auto``.

    Auto compiles on a CPU (elsewhere it was not measured), in one process, where the training is long enough for that.

    Args:
        word: ``trainer.compile``.
        model: to be trained, on ``device``; left in eval mode.
        images: (N,C,H,W), the shape of the training images.
        passes: how often an image goes through the network in the whole training.
        device: of the training.
        world: the processes that train together.

    Raises:
        InputError: ``always``, but torch can't compile here, or several processes train together.

    """
    if word == "always":
        if world.size > 1:
            raise InputError("trainer.compile=always: a training in several processes isn't compiled. Give auto.")
        if reason := obstacle(device):
            told = f"trainer.compile=always: torch can't compile here ({reason})"
            raise InputError(f"{told}. Install a C++ compiler, or give trainer.compile=auto.")
        return True
    if word == "never" or device.type != "cpu" or world.size > 1:
        return False
    work = passes * count_macs(model.eval(), torch.zeros(1, *images[1:], device=device))
    return work >= WORTH and obstacle(device) is None


@cache
def obstacle(device: torch.device) -> str | None:
    """Return why torch can't compile for ``device``, such as a missing C++ compiler; None if it can."""
    try:
        torch.compile(lambda values: values.sin() + 1)(torch.zeros(8, device=device))
    except Exception as error:  # whatever the compiler, or torch's call of it, raises
        return first_line(error)
    return None


@contextlib.contextmanager
def compiler_errors() -> Iterator[None]:
    """Turn an error of torch's compiler, not of what it compiles, into an InputError that says what to do."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        told = f"torch can't compile this network ({first_line(error)})"
        raise InputError(f"{told}. Give trainer.compile=never.") from None
