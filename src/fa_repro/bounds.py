"""The bounds of config keys that a type can't express: values that no run could use are refused."""

import math
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from omegaconf import DictConfig, ListConfig

from fa_repro.config import IMPUTATIONS, MEASURES, METHODS, ORDERS
from fa_repro.errors import InputError, did_you_mean


def _at_least(low: float) -> tuple[Any, str]:
    return (lambda v: v >= low), f"must be {low} or more"


def _within(low: float, high: float) -> tuple[Any, str]:
    return (lambda v: low <= v <= high), f"must be between {low} and {high}"


def _one_of(*words: str) -> tuple[Any, str]:
    return (lambda v: v in words), "must be one of " + ", ".join(words)


def _each(test: tuple[Any, str]) -> tuple[Any, str]:
    return (lambda vs: len(vs) > 0 and all(test[0](v) for v in vs)), f"every entry {test[1]}, and there must be one"


def _one_or_each(test: tuple[Any, str]) -> tuple[Any, str]:
    every, words = _each(test)
    return (lambda v: every(v if isinstance(v, list) else [v])), words


def _word_or_each(*words: str) -> tuple[Any, str]:
    return (
        lambda v: (
            v in words if isinstance(v, str) else isinstance(v, list) and len(v) > 0 and all(w in words for w in v)
        )
    ), "must be one of " + ", ".join(words) + ", or a list of them"


_POSITIVE = (lambda v: v > 0), "must be more than 0"
_BELOW_ONE = (lambda v: 0 <= v < 1), "must be 0 or more and less than 1"
_ASCENDING = (
    lambda v: len(v) > 1 and v[0] == 0 and v[-1] == 1 and all(a < b for a, b in pairwise(v)),
    "must rise from 0 to 1 (both end points are measured)",
)

_PATHS = (
    lambda v: v is None or isinstance(v, str) or (isinstance(v, list) and v and all(isinstance(p, str) for p in v)),
    "must be a path or a list of paths",
)

_BOUNDS: dict[str, tuple[Any, str]] = {
    "seed": _within(0, 2**31 - 1),
    "device": (
        (lambda v: re.fullmatch(r"auto|cpu|cuda(:\d{1,2})?", v) is not None),
        "must be auto, cpu, cuda or cuda:N",
    ),
    "data.n_train": _at_least(1),
    "data.n_test": _at_least(1),
    "data.image_size": _at_least(4),
    "data.seed": _within(0, 2**31 - 1),
    "model.skip": _one_of("damped", "undamped", "none"),
    "model.head": _one_of("gap", "linear"),
    "model.alpha": ((lambda v: 0 < v < 1), "must be more than 0 and less than 1"),
    "model.maps_per_class": _at_least(1),
    "model.unshuffle": _at_least(1),
    "model.blocks": _each(_at_least(1)),
    "model.pool": _each(_at_least(1)),
    "model.hidden": _each(_at_least(1)),
    "model.squeeze": _each(_at_least(1)),
    "model.depth": _one_or_each(_at_least(1)),
    "model.shrink": _each(_at_least(1)),
    "model.scale": _POSITIVE,
    "model.widths": _each(_at_least(1)),
    "trainer.epochs": _at_least(1),
    "trainer.batch_size": _at_least(2),
    "trainer.optimizer": _one_of("adamw", "sgd"),
    "trainer.lr": _POSITIVE,
    "trainer.weight_decay": _at_least(0),
    "trainer.momentum": _BELOW_ONE,
    "trainer.schedule": _one_of("onecycle", "cosine", "constant"),
    "trainer.warmup": _BELOW_ONE,
    "trainer.label_smoothing": _BELOW_ONE,
    "trainer.precision": _one_of("auto", "fp32", "bf16"),
    "trainer.memory_format": _one_of("auto", "contiguous", "channels_last"),
    "trainer.compile": _one_of("auto", "always", "never"),
    "trainer.val_fraction": _BELOW_ONE,
    "trainer.locality": _at_least(0),
    "trainer.augment.crop": _at_least(0),
    "trainer.augment.cutout": _at_least(0),
    "trainer.augment.removal": _within(0, 1),
    "checkpoint": _PATHS,
    "images": _PATHS,
    "image_size": _at_least(4),
    "methods": _each(_one_of(*METHODS)),
    "orders": _each(_one_of(*ORDERS)),
    "measures": _each(_one_of(*MEASURES)),
    "tolerance": _at_least(0),
    "grid": _at_least(2),
    "confidence": _within(0, 1),
    "mosaics": _at_least(2),
    "imputation": _word_or_each(*IMPUTATIONS),
    "score": _one_of("logit", "probability"),
    "precision": _one_of("fp32", "bf16"),
    "n_images": _at_least(1),
    "fractions": _ASCENDING,
    "n_patched": _at_least(2),
    "n_removed": _at_least(1),
    "what": _one_of("training", "explanation", "removal"),
    "rounds": _at_least(1),
    "workers": _at_least(0),
    "upsampling": _one_of("bilinear", "nearest"),
    "split": _one_of("test", "val"),
    "unit": _one_of("pixel", "patch", "superpixel"),
    "unit_side": _at_least(1),
    "superpixels": _at_least(2),
    "patch": _at_least(1),
    "repeats": _at_least(1),
    "n_steps": _at_least(1),
    "n_samples": _at_least(1),
    "bootstrap": _at_least(100),
    "batch_size": _at_least(1),
}


_UNTYPED = ("checkpoint", "images", "imputation")  # of which Hydra takes anything, null and mappings too


def _flat(node: Any, prefix: str = "") -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, DictConfig) and key not in _UNTYPED:
            values |= _flat(value, f"{prefix}{key}.")
        else:
            values[f"{prefix}{key}"] = list(value) if isinstance(value, ListConfig) else value
    return values


def check(cfg: DictConfig) -> None:
    """Refuse values that no run could use.

    Raises:
        InputError: names the key, its value and what it must be.

    """
    for key, value in _flat(cfg).items():
        numbers = value if isinstance(value, list) else [value]
        if any(isinstance(v, float) and not math.isfinite(v) for v in numbers):
            raise InputError(f"{key}={value}: must be a finite number.")
        if key not in _BOUNDS or (value is None and key not in _UNTYPED):
            continue
        holds, words = _BOUNDS[key]
        if not holds(value):
            hint = did_you_mean(value, words.replace(",", " ").split()) if isinstance(value, str) else ""
            raise InputError(f"{key}={value}: {words}.{hint}")


def check_word(key: str, word: str, words: Sequence[str]) -> None:
    """Refuse a word that is none of ``words``, of a key whose words differ between commands.

    Raises:
        InputError: names the key, its value and the words.

    """
    if word not in words:
        raise InputError(f"{key}={word}: must be one of {', '.join(words)}.{did_you_mean(word, words)}")
