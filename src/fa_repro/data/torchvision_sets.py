"""The benchmark data sets that torchvision reads, downloads and checks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fa_repro.errors import InputError
from fa_repro.torchvision_library import torchvision_part


def _open(name: str, root: str, split: str, download: bool) -> Any:
    datasets = torchvision_part("datasets")
    train = split == "train"
    opened: dict[str, Callable[[], Any]] = {
        "cifar10": lambda: datasets.CIFAR10(root, train, download=download),
        "cifar100": lambda: datasets.CIFAR100(root, train, download=download),
        "fashion_mnist": lambda: datasets.FashionMNIST(root, train, download=download),
        "mnist": lambda: datasets.MNIST(root, train, download=download),
        "svhn": lambda: datasets.SVHN(root, split, download=download),
        "stl10": lambda: datasets.STL10(root, split, download=download),
    }
    return opened[name]()


NAMES = ("cifar10", "cifar100", "fashion_mnist", "mnist", "svhn", "stl10")
_DIGITS = tuple("0123456789")  # SVHN's object lists no classes


def load(name: str, root: str, split: str, download: bool) -> tuple[Tensor, Tensor, tuple[str, ...]]:
    """Read one split.

    Args:
        name: one of `NAMES`.
        root: folder that torchvision looks in, or downloads to.
        split: ``train`` or ``test``.
        download: whether to fetch what is missing.

    Returns:
        images (N,C,H,W) uint8, labels (N,) int64, class names.

    Raises:
        InputError: the set isn't there, is damaged, or can't be downloaded.

    """
    try:
        data = _open(name, root, split, download)
    except InputError:
        raise
    except ModuleNotFoundError as error:  # SVHN's files are MATLAB's
        raise InputError(f"data={name} needs {error.name}: pip install {error.name}.") from None
    except Exception as error:  # torchvision raises what its readers raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        # torchvision knows one message for "not there"; ours names the folder and the way out.
        hint = "the download failed" if download else "give data.root=DIR where it lies, or data.download=true"
        raise InputError(f"data={name} can't be read under {Path(root).resolve()} ({reason}): {hint}.") from None
    values = np.asarray(data.data)
    if values.ndim == 3:
        values = values[:, None]  # grey
    elif values.shape[-1] == 3:
        values = values.transpose(0, 3, 1, 2)
    labels = np.asarray(getattr(data, "targets", getattr(data, "labels", None)), dtype=np.int64)
    classes = tuple(getattr(data, "classes", _DIGITS))
    return torch.from_numpy(np.ascontiguousarray(values)), torch.from_numpy(labels), classes
