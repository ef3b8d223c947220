"""Networks that are not ours: torchvision's by name, or whatever a function of the user's returns.

They take images in [0,1], as every model here does. torchvision's get ImageNet's normalisation in front; a function's
module has to normalise by itself.
"""

import contextlib
import importlib
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from fa_repro.device import arithmetic
from fa_repro.errors import InputError, did_you_mean, first_line
from fa_repro.models.normalization import Normalize
from fa_repro.saved import read_saved
from fa_repro.torchvision_library import torchvision_part

# Of ImageNet's training set: what torchvision's weights were trained with (its docs, "Models and pre-trained weights").
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
BATCH_TOLERANCE = 1e-3  # of the largest logit: two images may round differently from one, never as much
_NESTS = ("state_dict", "model")  # keys under which training scripts put the weights


class TorchvisionNet(nn.Module):
    """A classifier of torchvision's on images (N,3,H,W) in [0,1], with ImageNet's normalisation in front."""

    def __init__(self, name: str, n_classes: int) -> None:
        super().__init__()
        self.normalize = Normalize(IMAGENET_MEAN, IMAGENET_STD)
        self.net = torchvision_part("models").get_model(name, weights=None, num_classes=n_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (N,3,H,W) in [0,1] to logits (N,K)."""
        return self.net(self.normalize(images))


def is_external(config: Mapping[str, Any]) -> bool:
    """Return whether a resolved ``configs/model/*.yaml`` is one of ``torchvision`` or ``factory``."""
    return "weights" in config


def refuse_external(config: Mapping[str, Any]) -> None:
    """Refuse a network that is not ours.

    Raises:
        InputError: ``config``, a resolved ``configs/model/*.yaml``, names one.

    """
    if is_external(config):
        raise InputError(
            "model=torchvision and model=factory are for explain, benchmark-removal, benchmark-localization, "
            "benchmark-sanity and benchmark-speed (what=explanation or removal): nothing is trained or proved about "
            "them here."
        )


def build_external(config: Mapping[str, Any], n_classes: int, seed: int) -> nn.Module:
    """Build the network that ``config`` (``configs/model/torchvision.yaml`` or ``factory.yaml``) names, in eval mode.

    Args:
        config: resolved; without ``weights`` a torchvision network has random ones, another what its function gave it.
        n_classes: of the data set; torchvision's head gets as many.
        seed: of random weights.

    Raises:
        InputError: no such network or function, or the weights don't fit.

    """
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        model = call_factory(config["factory"]) if "factory" in config else _torchvision(config["name"], n_classes)
    if config["weights"] is not None:
        target = model.net if isinstance(model, TorchvisionNet) else model
        _load(target, Path(config["weights"]), config["name"])
    return model.eval()


def _torchvision(name: str, n_classes: int) -> nn.Module:
    models = torchvision_part("models")
    known = models.list_models(module=models)
    if name not in known:
        raise InputError(
            f"model.name={name}: torchvision has no such classifier.{did_you_mean(name, known)} "
            f"It has resnet50, vgg16, densenet121 and {len(known) - 3} more."
        )
    return TorchvisionNet(name, n_classes)


@contextlib.contextmanager
def _working_directory_searched() -> Iterator[None]:
    """Have imports search the working directory too, first of all."""
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _function(word: str) -> Any:
    """Return what ``package.module:function`` names."""
    place, colon, function = word.partition(":")
    if not (place and colon and function):
        raise InputError(f"model.factory={word}: must be package.module:function.")
    try:
        with _working_directory_searched():
            module = importlib.import_module(place)
    except Exception as error:  # whatever the user's own module raises
        raise InputError(f"model.factory={word}: {place} can't be imported ({first_line(error)}).") from None
    found = getattr(module, function, None)
    if not callable(found):
        raise InputError(f"model.factory={word}: {place} has no function {function}.")
    return found


def factory_file(word: str) -> Path | None:
    """Return the file that the function of ``package.module:function`` is written in; None if it is in none.

    Raises:
        InputError: the module can't be imported, or there is no such function.

    """
    try:
        file = inspect.getsourcefile(inspect.unwrap(_function(word)))
    except TypeError:  # an instance with __call__, or a function of C
        return None
    return Path(file) if file else None


def call_factory(word: str) -> nn.Module:
    """Return the module that ``package.module:function``, called without arguments, returns.

    Raises:
        InputError: there is no such function, it fails, or it returns no ``torch.nn.Module``.

    """
    factory = _function(word)
    try:
        with _working_directory_searched():  # it may import more
            made = factory()
    except Exception as error:  # whatever the user's own function raises
        raise InputError(f"model.factory={word}: the function failed ({first_line(error)}).") from None
    if not isinstance(made, nn.Module):
        raise InputError(f"model.factory={word}: must return a torch.nn.Module, not {type(made).__name__}.")
    return made


def _load(model: nn.Module, path: Path, name: str) -> None:
    """Load a state dict, bare or under the names that training scripts use."""
    wanted = "state dict that torch.save wrote"
    content = read_saved(path, "model.weights", f"Give a {wanted}.", f"is no {wanted}")
    for key in _NESTS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InputError(f"model.weights={path}: holds no state dict (names and tensors).")
    state = dict(content)
    consume_prefix_in_state_dict_if_present(state, "module.")  # of a network that was trained in parallel
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"model.weights={path}: don't fit {name}: {_shortened(error)}") from None


def _shortened(error: Exception) -> str:
    """Return the first thing that torch says doesn't fit; its lists of keys can be pages long."""
    lines = [line.strip() for line in str(error).splitlines()]
    first = lines[1] if len(lines) > 1 else lines[0]
    return first if len(first) <= 160 else first[:157] + "..."


def check_batch(model: nn.Module, images: Tensor, name: str) -> None:
    """Refuse a network whose logits of an image depend on the others in its batch.

    Args:
        model: in eval mode, on the images' device.
        images: (N,C,H,W) in [0,1]; of one alone nothing can be said.
        name: of the model.

    Raises:
        InputError: it fails on more than one image, or an image's logits among others are not those of it alone.

    """
    try:
        with torch.inference_mode(), arithmetic(images.device, torch.float32):
            together, alone = model(images), torch.cat([model(image[None]) for image in images])
            off = (together - alone).abs().amax()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever the user's own network raises
        raise InputError(f"model {name} can't take a batch of {len(images)} images ({first_line(error)}).") from None
    if off > BATCH_TOLERANCE * alone.abs().amax().clamp_min(1):
        raise InputError(
            f"model {name} gives an image other logits in a batch than alone (off by {off:.1e}), so no reading would "
            f"mean anything. A batch norm without running statistics does that, or one in training mode."
        )


def probe(model: nn.Module, images: Tensor, n_classes: int, name: str) -> None:
    """Refuse a network that can't classify the images.

    Args:
        model: on the images' device.
        images: (1,C,H,W) in [0,1].
        n_classes: of the data set.
        name: of the model.

    Raises:
        InputError: it fails on them or changes them, or its output is not (1, n_classes).

    """
    shape = "x".join(str(n) for n in images.shape[1:])
    given = images.clone()
    try:
        with torch.inference_mode():
            logits = model(given)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever the user's own network raises
        raise InputError(f"model {name} can't take images of {shape} ({first_line(error)}).") from None
    if not torch.equal(given, images):  # the next to read the batch would have images that nobody took
        raise InputError(
            f"model {name} changes its input in place, which all methods share. Let it work on a copy, as with "
            f"(x - mean) / std in place of x.sub_(mean).div_(std)."
        )
    if not isinstance(logits, Tensor) or logits.shape != (1, n_classes):
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise InputError(
            f"model {name} must give logits (1, {n_classes}), one for each class of the data, not {found}."
        )
