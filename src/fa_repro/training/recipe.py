"""What of a trainer's config says how a network was trained: by it trainings are held to be alike."""

from collections.abc import Mapping
from typing import Any

# Keys that came later than some kept trainings, with the value by which they do what was done before them.
_BEFORE = {"locality": 0.0}
_BEFORE_AUGMENT = {"cutout": 0}


def recipe(trainer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trainer's resolved config with what later keys did before they were there, and without ``compile``.

    Compiled steps are the same up to rounding.
    """
    alike = {**_BEFORE, **trainer, "augment": {**_BEFORE_AUGMENT, **trainer.get("augment", {})}}
    alike.pop("compile", None)
    return alike
