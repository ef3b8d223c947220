"""Typed schemas of every config key.

Hydra holds the YAML of ``configs/`` and the words of the command line against these classes: an unknown key or a
wrong type is refused before anything starts. Values that no run could use are refused by `fa_repro.bounds`.
"""

from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

METHODS = (
    "feature_map", "depth_map", "contrast_map", "grad_cam", "permutation", "occlusion", "integrated_gradients",
    "saliency", "shapley", "random", "center",
)  # fmt: skip
ORDERS = ("morf", "lerf")
MEASURES = ("pointing_game", "energy", "grid", "grid_peak")
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
    cutout: int = MISSING
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
    compile: str = MISSING
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
class AttributionConfig(CommandConfig):
    """What every command with attribution methods has: of which classifier, which methods, how their maps are made."""

    checkpoint: str | None = None
    data: DataConfig = MISSING
    model: ModelConfig = MISSING
    layer: str | None = None
    methods: list[str] = MISSING
    target: str = MISSING
    upsampling: str = MISSING
    patch: int = MISSING
    repeats: int = MISSING
    n_steps: int = MISSING
    n_samples: int = MISSING
    batch_size: int = MISSING


@dataclass
class ExplainConfig(AttributionConfig):
    """``configs/explain.yaml``."""

    images: Any = None  # a path or a list of paths
    image_size: int | None = None


@dataclass
class ClassifierConfig(AttributionConfig):
    """What every benchmark of attribution methods has beside them: over how many images, with which intervals."""

    n_images: int = MISSING
    bootstrap: int = MISSING


@dataclass
class RemovalConfig(ClassifierConfig):
    """``configs/benchmark_removal.yaml``."""

    checkpoint: Any = None  # a path or a list of paths
    split: str = MISSING
    orders: list[str] = MISSING
    imputation: Any = MISSING  # a word or a list of words
    fractions: list[float] = MISSING
    unit: str = MISSING
    unit_side: int | None = None
    superpixels: int = MISSING
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
class ReportConfig:
    """``configs/report.yaml``."""

    results: str = "results"
    readme: str | None = None


SCHEMAS: dict[str, type[CommandConfig | ReportConfig]] = {
    "train": TrainConfig,
    "verify_gradcam": VerifyConfig,
    "explain": ExplainConfig,
    "benchmark_removal": RemovalConfig,
    "benchmark_sanity": SanityConfig,
    "benchmark_localization": LocalizationConfig,
    "benchmark_speed": SpeedConfig,
    "report": ReportConfig,
}


# By the choice of model= that has such a config; others of ours build on one of these.
MODELS: dict[str, type[ModelConfig]] = {
    "fa_cnn": FACNNConfig,
    "resnet_small": ResNetSmallConfig,
    "resnet_whitened": ResNetWhitenedConfig,
    "torchvision": TorchvisionConfig,
    "factory": FactoryConfig,
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
    for name, model in MODELS.items():
        store.store(group="schema", name=name, node=model)


def known_keys(schema: type) -> set[str]:
    """Every dotted key that a command understands, over all models: what a mistyped key is compared with."""
    keys: set[str] = set()

    def walk(cls: type, prefix: str) -> None:
        for item in fields(cls):
            keys.add(prefix + item.name)
            kinds = tuple(MODELS.values()) if item.type is ModelConfig else (item.type,)
            for kind in kinds:
                if isinstance(kind, type) and is_dataclass(kind):
                    walk(kind, f"{prefix}{item.name}.")

    walk(schema, "")
    return keys


def models_with(key: str) -> list[str]:
    """Return the choices of model= that have ``key``, such as ``model.weights``."""
    return [name for name, model in MODELS.items() if key in {f"model.{item.name}" for item in fields(model)}]
