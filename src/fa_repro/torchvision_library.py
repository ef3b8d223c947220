"""torchvision, which works with the torch that it was built for and no other: where its parts are fetched from."""

from importlib import import_module
from typing import Any

import torch

from fa_repro.errors import InputError, first_line


def torchvision_part(name: str) -> Any:
    """Return a module of torchvision's, such as ``datasets.folder``.

    Raises:
        InputError: it can't be imported.

    """
    try:
        return import_module(f"torchvision.{name}")
    except Exception as error:  # absent, or built for another torch, which it tells in many ways
        raise InputError(
            f"torchvision can't be imported beside torch {torch.__version__} ({first_line(error)}). Each torch has its "
            f"own torchvision: install both at once, pip install --upgrade torch torchvision."
        ) from None
