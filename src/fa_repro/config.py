"""Typed schemas of every config key, and the bounds that a type can't express.

Hydra holds the YAML of ``configs/`` and the words of the command line against these classes: an unknown key or a
wrong type is refused before anything starts. `check` then refuses values that no run could use.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, ListConfig

from fa_repro.errors import InputError, did_you_mean

METHODS = (
    "feature_map", "depth_map", "grad_cam", "permutation", "occlusion", "integrated_gradients", "saliency", "shapley",
    "random", "center",
)  # fmt: skip
ORDERS = ("morf", "lerf")
MEASURES = ("pointing_game", "energy", "grid")
IMPUTATIONS = ("mean", "zero", "blur", "noise", "noisy_linear")


@dataclass
class DataConfig:
    """One data set, of any kind; the comments on each key are in ``configs/data/``."""

    name: str = MISSING
    root: str | None = None
    download: bool = False
    n_train: int | None = None
    n_test: int | None = None
    image_size: int | None = None
    mirror: bool = True
    cache: str | None = None
    seed: int | None = None


@dataclass
class ModelConfig:
    """What every model's config has."""

    name: str = MISSING


@dataclass
class FACNNConfig(ModelConfig):
    """``configs/model/fa_cnn.yaml``."""

    skip: str = MISSING
    head: str = MISSING
    alpha: float = MISSING
    maps_per_class: int = MISSING
    unshuffle: int = MISSING
    blocks: list[int] = MISSING
    pool: list[int] = MISSING
    squeeze: list[int] = MISSING
    hidden: list[int] = MISSING
    depth: list[int] = MISSING
    shrink: list[int] = MISSING
    scale: float = MISSING
    learn_scale: bool = MISSING


@dataclass
class ResNetSmallConfig(ModelConfig):
    """``configs/model/resnet_small.yaml``."""

    widths: list[int] = MISSING
    blocks: list[int] = MISSING


@dataclass
class ResNetWhitenedConfig(ModelConfig):
    """``configs/model/resnet_whitened.yaml``."""

    widths: list[int] = MISSING
    depth: int = MISSING


@dataclass
class TorchvisionConfig(ModelConfig):
    """``configs/model/torchvision.yaml``."""

    weights: str | None = None


@dataclass
class FactoryConfig(ModelConfig):
    """``configs/model/factory.yaml``."""

    factory: str = MISSING
    weights: str | None = None


@dataclass
class AugmentConfig:
    """``trainer.augment``: what the training images go through on the device."""

    crop: int = MISSING
    flip: bool = MISSING
    removal: float = MISSING


@dataclass
class TrainerConfig:
    """``configs/trainer/default.yaml``."""

    epochs: int = MISSING
    batch_size: int = MISSING
    optimizer: str = MISSING
    lr: float = MISSING
    weight_decay: float = MISSING
    momentum: float = MISSING
    schedule: str = MISSING
    warmup: float = MISSING
    label_smoothing: float = MISSING
    precision: str = MISSING
    memory_format: str = MISSING
    val_fraction: float = MISSING
    locality: float = MISSING
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass
class CommandConfig:
    """What every command's config has."""

    seed: int = 0
    device: str = "auto"
    results: str = "results"
    name: str | None = None
    overwrite: bool = False


@dataclass
class TrainConfig(CommandConfig):
    """``configs/train.yaml``."""

    data: DataConfig = MISSING
    model: ModelConfig = MISSING
    trainer: TrainerConfig = MISSING


@dataclass
class VerifyConfig(CommandConfig):
    """``configs/verify_gradcam.yaml``."""

    checkpoint: str | None = None
    data: DataConfig = MISSING
    model: ModelConfig = MISSING
    n_images: int = MISSING
    score: str = MISSING


@dataclass
class ClassifierConfig(CommandConfig):
    """What every benchmark of attribution methods has: of which classifier, which methods, how their maps are made."""

    checkpoint: str | None = None
    data: DataConfig = MISSING
    model: ModelConfig = MISSING
    layer: str | None = None
    methods: list[str] = MISSING
    target: str = MISSING
    n_images: int = MISSING
    upsampling: str = MISSING
    patch: int = MISSING
    repeats: int = MISSING
    n_steps: int = MISSING
    n_samples: int = MISSING
    bootstrap: int = MISSING
    batch_size: int = MISSING


@dataclass
class RemovalConfig(ClassifierConfig):
    """``configs/benchmark_removal.yaml``."""

    checkpoint: Any = None  # a path or a list of paths
    orders: list[str] = MISSING
    imputation: Any = MISSING  # a word or a list of words
    fractions: list[float] = MISSING
    unit: str = MISSING
    precision: str = MISSING


@dataclass
class SanityConfig(ClassifierConfig):
    """``configs/benchmark_sanity.yaml``."""


@dataclass
class LocalizationConfig(ClassifierConfig):
    """``configs/benchmark_localization.yaml``."""

    measures: list[str] = MISSING
    tolerance: int = MISSING
    grid: int = MISSING
    confidence: float = MISSING
    mosaics: int = MISSING


@dataclass
class SpeedConfig(CommandConfig):
    """``configs/benchmark_speed.yaml``."""

    checkpoint: str | None = None
    data: DataConfig = MISSING
    model: ModelConfig = MISSING
    trainer: TrainerConfig = MISSING
    what: str = MISSING
    layer: str | None = None
    n_images: int = MISSING
    n_removed: int = MISSING
    n_patched: int = MISSING
    rounds: int = MISSING
    workers: int = MISSING
    patch: int = MISSING
    repeats: int = MISSING
    batch_size: int = MISSING


@dataclass
class ReportConfig(CommandConfig):
    """``configs/report.yaml``."""

    readme: str | None = None


SCHEMAS: dict[str, type[CommandConfig]] = {
    "train": TrainConfig,
    "verify_gradcam": VerifyConfig,
    "benchmark_removal": RemovalConfig,
    "benchmark_sanity": SanityConfig,
    "benchmark_localization": LocalizationConfig,
    "benchmark_speed": SpeedConfig,
    "report": ReportConfig,
}


def register() -> None:
    """Make the schemas known to Hydra under the names that the YAML files' defaults lists use."""
    store = ConfigStore.instance()
    for name, schema in SCHEMAS.items():
        store.store(name=f"{name}_schema", node=schema)
    # A group of their own: among the choices of model= and data= they would be no choice.
    store.store(group="schema", name="data", node=DataConfig)
    store.store(group="schema", name="trainer", node=TrainerConfig)
    store.store(group="schema", name="model", node=ModelConfig)
    store.store(group="schema", name="fa_cnn", node=FACNNConfig)
    store.store(group="schema", name="resnet_small", node=ResNetSmallConfig)
    store.store(group="schema", name="resnet_whitened", node=ResNetWhitenedConfig)
    store.store(group="schema", name="torchvision", node=TorchvisionConfig)
    store.store(group="schema", name="factory", node=FactoryConfig)


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

_BOUNDS: dict[str, tuple[Any, str]] = {
    "seed": _within(0, 2**31 - 1),
    "device": (
        (lambda v: re.fullmatch(r"auto|cpu|cuda(:\d+)?", v) is not None),
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
    "trainer.val_fraction": _BELOW_ONE,
    "trainer.locality": _at_least(0),
    "trainer.augment.crop": _at_least(0),
    "trainer.augment.removal": _within(0, 1),
    "checkpoint": (
        lambda v: v is None or isinstance(v, str) or (isinstance(v, list) and v and all(isinstance(p, str) for p in v)),
        "must be a path or a list of paths",
    ),
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
    "unit": _one_of("pixel", "patch"),
    "patch": _at_least(1),
    "repeats": _at_least(1),
    "n_steps": _at_least(1),
    "n_samples": _at_least(1),
    "bootstrap": _at_least(100),
    "batch_size": _at_least(1),
}


_UNTYPED = ("checkpoint", "imputation")  # of which Hydra takes anything, null and mappings too


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


def known_keys(schema: type) -> set[str]:
    """Every dotted key that a command understands, over all models: what a mistyped key is compared with."""
    from dataclasses import fields, is_dataclass

    keys: set[str] = set()

    def walk(cls: type, prefix: str) -> None:
        for item in fields(cls):
            keys.add(prefix + item.name)
            models = (FACNNConfig, ResNetSmallConfig, ResNetWhitenedConfig, TorchvisionConfig, FactoryConfig)
            kinds = models if item.type is ModelConfig else (item.type,)
            for kind in kinds:
                if isinstance(kind, type) and is_dataclass(kind):
                    walk(kind, f"{prefix}{item.name}.")

    walk(schema, "")
    return keys
