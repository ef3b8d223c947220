"""The network made ready to be read many thousand times: batch norm folded, a fast memory format, fp32 or bf16.

Removal reads a network some hundred times an image, a map by patches as often, and neither asks for anything but
logits. What they read is therefore a copy whose batch norms are folded into the convolutions before them (Jacob et al.
2018, arXiv:1712.05877, section 3.2; in float here). In fp32 its readings are the network's own up to rounding, and a
copy whose readings are not is not used. On a CPU a batch goes through it in parts small enough that one layer's maps
are still in the cache for the next layer.
"""

import math
import time
from collections.abc import Sequence
from copy import copy, deepcopy

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from fa_repro.attribution import PATCHWISE
from fa_repro.device import arithmetic, choose_precision

TRIALS = 5  # timed forward passes for each memory format, after one untimed; the fastest counts
# So many times as fast has contiguous to be to take channels_last's place: with a lead that a busy machine could hide
# or feign, the same words would give other last digits every time.
MARGIN = 1.5
CHECKED = 16  # images whose logits are held against the network's own
TOLERANCE = 1e-5  # of a probability, and of a logit as a share of the largest
# Images a part on a CPU: as many as have so many pixels, but no fewer than the second. Measured on two AVX2 cores with
# 32 MiB of cache: 64 images of 32x32 are read 1.2 to 1.5 times as fast as 256 at once, 8 to 16 of 224x224 1.2 times.
PART_PIXELS, PART_IMAGES = 64 * 32 * 32, 16
NARROW = 8  # channels; below, torch 2.15 on a CPU corrupts the heap in strided 1x1 convolutions in channels_last


def fold_batch_norm(model: nn.Module) -> nn.Module | None:
    """Return a copy of ``model``, in eval mode, with its batch norms folded into the convolutions before them.

    None where torch.fx can't follow the forward pass, as when it branches on its input.
    """
    try:
        return fuse(model)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # whatever a forward pass raises on torch.fx's stand-ins for images, or on being copied
        return None


class Reader(nn.Module):
    """Maps images (N,C,H,W) in [0,1] to logits (N,K) float32, as ``model`` does, faster; in eval mode alone."""

    def __init__(self, model: nn.Module, images: Tensor, precision: str = "fp32") -> None:
        """Fold, hold against ``model`` and time both memory formats on ``images``.

        Args:
            model: in eval mode; stays as it is.
            images: (N,C,H,W) in [0,1], a batch such as those to come, on the model's device.
            precision: ``fp32``, or ``bf16``: autocast, for speed at the price of an error.

        """
        super().__init__()
        self.precision = choose_precision(precision, images.device)
        self.memory_format = torch.contiguous_format
        few = images[:CHECKED]
        expected = _exactly(model, few)
        folded = fold_batch_norm(model)
        if folded is not None and not _agree(folded, few, expected):
            folded = None  # a module that is called twice, for one, with a batch norm of its own after each call
        self.folded = folded is not None
        try:
            self.model = deepcopy(model) if folded is None else folded
        except torch.OutOfMemoryError:
            raise
        except Exception:  # not every module can be copied; one that can't is read where it is, as it is
            self.model = model
            return
        self.memory_format = self._faster_format(images, expected)
        self.model.to(memory_format=self.memory_format)

    def _faster_format(self, images: Tensor, expected: Tensor) -> torch.memory_format:
        if images.device.type == "cpu" and any(map(_strided_and_narrow, self.model.modules())):
            return torch.contiguous_format
        spent = {}
        for layout in (torch.contiguous_format, torch.channels_last):
            self.model.to(memory_format=layout)
            laid = images.contiguous(memory_format=layout)
            spent[layout] = self._seconds(laid) if _agree(self.model, laid[:CHECKED], expected) else math.inf
        contiguous_is_faster = MARGIN * spent[torch.contiguous_format] <= spent[torch.channels_last]
        return torch.contiguous_format if contiguous_is_faster else torch.channels_last

    def _seconds(self, images: Tensor) -> float:
        spent = []
        for _ in range(TRIALS + 1):
            began = time.perf_counter()
            with arithmetic(images.device, self.precision), torch.inference_mode():
                self._logits(images).sum().item()  # read on the CPU at the end: a device has then done its work
            spent.append(time.perf_counter() - began)
        return min(spent[1:])

    def lay_out(self, memory_format: torch.memory_format) -> None:
        """Read in this memory format from now on."""
        if memory_format != self.memory_format:
            self.memory_format = memory_format
            self.model.to(memory_format=memory_format)

    def in_fp32(self) -> "Reader":
        """Return a reader of the same network, not copied, in fp32."""
        other = copy(self)
        other.precision = torch.float32
        return other

    @torch.inference_mode()
    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        with arithmetic(images.device, self.precision):
            return self._logits(images.contiguous(memory_format=self.memory_format)).float()

    def _logits(self, images: Tensor) -> Tensor:
        if images.device.type != "cpu":
            return self.model(images)
        size = max(PART_IMAGES, PART_PIXELS // (images.shape[-2] * images.shape[-1]))
        return torch.cat([self.model(part) for part in images.split(size)])


def reader_for(methods: Sequence[str], model: nn.Module, images: Tensor, batch_size: int) -> nn.Module:
    """Return what those of ``methods`` are to ask that need nothing but logits: a `Reader`, or ``model`` if none does.

    Args:
        methods: names of `fa_repro.attribution.METHODS`.
        model: in eval mode, on the images' device.
        images: (N,C,H,W) uint8.
        batch_size: of them a forward pass.

    """
    if not any(method in PATCHWISE for method in methods):
        return model
    return Reader(model, images[:batch_size].float() / 255)


def _strided_and_narrow(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and max(module.stride) > 1
        and min(module.in_channels, module.out_channels) < NARROW
    )


@torch.inference_mode()
def _exactly(model: nn.Module, images: Tensor) -> Tensor:
    with arithmetic(images.device, torch.float32):
        return model(images)


def _agree(model: nn.Module, images: Tensor, expected: Tensor) -> bool:
    """Return whether ``model`` gives the ``expected`` logits (N,K) to within `TOLERANCE`."""
    try:
        logits = _exactly(model, images)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # a view of maps that lie in another memory format, for instance
        return False
    scale = expected.abs().amax().clamp_min(1)
    probabilities = (logits.softmax(1) - expected.softmax(1)).abs().amax()
    return bool((logits - expected).abs().amax() <= TOLERANCE * scale) and bool(probabilities <= TOLERANCE)
