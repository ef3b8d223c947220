"""Loss and top-1 of a model on a resident set of images."""

from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from fa_repro.data import ImageSet
from fa_repro.device import arithmetic
from fa_repro.training.distributed import ALONE, World

BATCH = 500  # images a forward pass


class Score(NamedTuple):
    """Mean cross-entropy in nats and share of images whose largest logit is the label's."""

    loss: float
    top1: float


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    data: ImageSet,
    memory_format: torch.memory_format = torch.contiguous_format,
    world: World = ALONE,
) -> Score:
    """Score ``model``, put into eval mode, on ``data``, in float32; both lie on one device.

    The sums stay on the device until the end; several processes score a share each and get the same sums.
    """
    model.eval()
    loss = torch.zeros((), dtype=torch.float64, device=data.labels.device)
    correct = torch.zeros((), dtype=torch.int64, device=data.labels.device)
    for images, labels in zip(
        world.share(data.images).split(BATCH), world.share(data.labels).split(BATCH), strict=True
    ):
        with arithmetic(images.device, torch.float32):
            logits = model((images.float() / 255).contiguous(memory_format=memory_format))
        loss += F.cross_entropy(logits.double(), labels, reduction="sum")
        correct += (logits.argmax(1) == labels).sum()
    return Score(world.sum(loss).item() / len(data), world.sum(correct).item() / len(data))
