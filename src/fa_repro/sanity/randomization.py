"""Cascading randomisation: a network's layers lose what they learned one after the other, from the top down.

What a layer is: an entry of the network's own lists (``Sequential``, ``ModuleList``, ``ModuleDict``, however nested),
or a child of the network that is no list: a convolution, a Linear layer, or a whole block, as Adebayo et al. 2018
(arXiv:1810.03292) take those of Inception. A network that only wraps another is looked into. A normalisation goes with
the layer before it. Layers stand in the order in which they run, not in that of their definition; what doesn't run is
none.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from fa_repro.errors import InputError, first_line
from fa_repro.models.order import run_order

_LISTS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_NORMS = (_NormBase, nn.GroupNorm, nn.LayerNorm)


class Layer(NamedTuple):
    """What is randomised at once: its name in the network, and those of the modules that hold its weights."""

    name: str
    modules: tuple[str, ...]


def _reset(module: nn.Module) -> Callable[[], object] | None:
    """Return what sets the module's own weights anew, or None if it has none or no way to."""
    own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    # torch's attention has it under a private name.
    reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    return reset if own and callable(reset) else None


def _holders(name: str, module: nn.Module) -> tuple[str, ...]:
    """Return the dotted names of the modules, ``module`` (called ``name``) among them, that can be reset."""
    found = [inner for inner, part in module.named_modules() if _reset(part)]
    return tuple(".".join(filter(None, (name, inner))) for inner in found)


def _entries(prefix: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        if not _holders("", child):
            continue
        if isinstance(child, _LISTS):
            yield from _entries(f"{prefix}{name}.", child)
        else:
            yield f"{prefix}{name}", child


def layers(model: nn.Module, images: Tensor) -> list[Layer]:
    """Return the layers from the top (the last to run) to the bottom.

    Args:
        model: maps ``images`` to logits.
        images: (N,C,H,W) in [0,1], for the one forward pass that shows the order.

    """
    entries = list(_entries("", model)) or [("", model)]
    # A wrapper around the network.
    while len(entries) == 1 and (inner := list(_entries(f"{entries[0][0]}.", entries[0][1]))) and entries[0][0]:
        entries = inner
    place = {name: i for i, name in enumerate(run_order(model, images))}
    found = []
    for name, module in entries:
        # All that a layer holds goes: torch's attention uses the weights of its last Linear layer without running it.
        inside = (".".join(filter(None, (name, inner))) for inner, _ in module.named_modules())
        ran = [place[part] for part in inside if part in place]
        holders = _holders(name, module)
        if ran and holders:
            found.append((max(ran), isinstance(module, _NORMS), Layer(name, holders)))
    ordered: list[Layer] = []
    for _, is_norm, layer in sorted(found, key=lambda entry: entry[0]):
        if is_norm and ordered:
            before = ordered.pop()
            layer = Layer(before.name, before.modules + layer.modules)
        ordered.append(layer)
    return ordered[::-1]


def left_as_they_are(model: nn.Module) -> list[str]:
    """Return the names of what was learned or fitted and can't be set anew, such as a single factor of all logits.

    Saved buffers of floating point count: a frozen normalisation's weights, the mean colour of the training images.
    """
    saved = model.state_dict()
    names = []
    for prefix, module in model.named_modules():
        if _reset(module):
            continue
        dotted = f"{prefix}." if prefix else ""
        names += [dotted + name for name, _ in module.named_parameters(recurse=False)]
        buffers = [(dotted + name, buffer) for name, buffer in module.named_buffers(recurse=False)]
        names += [name for name, buffer in buffers if name in saved and buffer.is_floating_point()]
    return names


def cascade(model: nn.Module, order: list[Layer], seed: int) -> Iterator[tuple[str, nn.Module]]:
    """Randomise one layer after the other; what has been randomised stays so.

    Weights are drawn as the layer's own ``reset_parameters`` draws them; a batch normalisation's running mean and
    variance become 0 and 1 with it, and a fitted whitening becomes a convolution that was not trained. They are drawn
    on the CPU, so that every device gets the same.

    Args:
        model: stays as it is.
        order: of `layers`.
        seed: of the new weights.

    Returns:
        Layer by layer its name and a network of its own, in eval mode without gradients of the weights, on the model's
        device.

    Raises:
        InputError: the model can't be copied.

    """
    place = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    try:
        network = deepcopy(model).cpu()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever the user's own module raises
        raise InputError(
            f"what is randomised is a copy of the model, and it can't be copied ({first_line(error)})."
        ) from None
    return _randomise(network, order, seed, place)


def _randomise(
    network: nn.Module, order: list[Layer], seed: int, place: torch.device
) -> Iterator[tuple[str, nn.Module]]:
    """Yield what `cascade` returns; ``network``, on the CPU, is changed."""
    state = torch.Generator().manual_seed(seed).get_state()
    for layer in order:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(state)
            for name in layer.modules:
                reset = _reset(network.get_submodule(name))
                assert reset is not None
                reset()
            state = torch.get_rng_state()
        yield layer.name, deepcopy(network).eval().requires_grad_(False).to(place)
