"""The bounds of config keys: the last value that passes, the first that is refused, and what is said of it."""

import math
import re

import pytest
from omegaconf import DictConfig, OmegaConf

from fa_repro import bounds, config
from fa_repro.errors import InputError


def one_key(key: str, value: object) -> DictConfig:
    cfg = OmegaConf.create({})
    OmegaConf.update(cfg, key, value)
    return cfg


def test_bounds_are_about_keys_that_exist():
    known = set().union(*(config.known_keys(schema) for schema in config.SCHEMAS.values()))
    assert set(bounds._BOUNDS) <= known
    assert not {"trainer.epoch", "alpha", "data.zzzz"} & known


# Each key with the last value that passes and the first that does not.
EDGES = [
    ("seed", 0, -1),
    ("seed", 2**31 - 1, 2**31),
    ("device", "cuda:1", "cuda:"),
    ("device", "cuda:99", "cuda:100"),
    ("device", "cuda", "gpu"),
    ("device", "auto", "cpu:0"),
    ("device", "cpu", ""),
    ("data.n_train", 1, 0),
    ("data.n_test", 1, 0),
    ("data.image_size", 4, 3),
    ("data.seed", 0, -1),
    ("model.skip", "none", "residual"),
    ("model.head", "linear", "fc"),
    ("model.alpha", 0.999, 1.0),
    ("model.alpha", 0.001, 0.0),
    ("model.maps_per_class", 1, 0),
    ("model.unshuffle", 1, 0),
    ("model.blocks", [1], [1, 0]),
    ("model.blocks", [1, 2, 3], []),
    ("model.hidden", [1, 1], [0, 1]),
    ("model.pool", [1, 2], [1, 0]),
    ("model.squeeze", [1, 2], [1, 0]),
    ("model.shrink", [1, 2], [0, 1]),
    ("model.depth", [1, 3], [1, 0]),
    ("model.depth", 1, 0),
    ("model.scale", 0.1, 0.0),
    ("model.widths", [8], [8, 0]),
    ("trainer.epochs", 1, 0),
    ("trainer.batch_size", 2, 1),
    ("trainer.optimizer", "sgd", "adam"),
    ("trainer.lr", 1e-9, 0.0),
    ("trainer.weight_decay", 0.0, -0.1),
    ("trainer.momentum", 0.0, 1.0),
    ("trainer.schedule", "cosine", "linear"),
    ("trainer.warmup", 0.0, 1.0),
    ("trainer.label_smoothing", 0.99, 1.0),
    ("trainer.precision", "bf16", "fp16"),
    ("trainer.memory_format", "contiguous", "nhwc"),
    ("trainer.compile", "never", "true"),
    ("trainer.val_fraction", 0.0, -0.1),
    ("trainer.val_fraction", 0.9, 1.0),
    ("trainer.locality", 0.0, -0.1),
    ("trainer.augment.crop", 0, -1),
    ("trainer.augment.cutout", 0, -1),
    ("trainer.augment.removal", 1.0, 1.1),
    ("checkpoint", ["a.pt", "b.pt"], []),
    ("checkpoint", ["a.pt"], ["a.pt", None]),
    ("checkpoint", "a.pt", {"a.pt": 1}),
    ("checkpoint", None, 3),
    ("images", ["a.png", "folder"], []),
    ("images", "a.png", {"a.png": 1}),
    ("image_size", 4, 3),
    ("split", "val", "train"),
    ("unit_side", 1, 0),
    ("superpixels", 2, 1),
    ("methods", ["random"], ["gradcam"]),
    ("methods", ["grad_cam", "center"], []),
    ("orders", ["lerf"], ["morf", "leaf"]),
    ("measures", ["grid"], ["energy", "iou"]),
    ("measures", ["pointing_game", "energy"], []),
    ("tolerance", 0, -1),
    ("grid", 2, 1),
    ("confidence", 0.0, -0.1),
    ("confidence", 1.0, 1.1),
    ("mosaics", 2, 1),
    ("imputation", "noisy_linear", "black"),
    ("imputation", ["mean", "noisy_linear"], ["mean", "black"]),
    ("imputation", ["blur"], []),
    ("imputation", "zero", None),
    ("imputation", "noise", 3),
    ("imputation", "mean", {"mean": 1}),
    ("score", "probability", "softmax"),
    ("n_images", 1, 0),
    ("fractions", [0, 1], [0, 0.5]),
    ("fractions", [0, 0.5, 1], [0, 0.5, 0.5, 1]),
    ("fractions", [0.0, 0.1, 1.0], [0.1, 1.0]),
    ("fractions", [0, 1.0], [1]),
    ("fractions", [0, 1], []),
    ("upsampling", "nearest", "bicubic"),
    ("unit", "patch", "patches"),
    ("patch", 1, 0),
    ("repeats", 1, 0),
    ("n_steps", 1, 0),
    ("n_samples", 1, 0),
    ("bootstrap", 100, 99),
    ("what", "training", "learning"),
    ("n_patched", 2, 1),
    ("rounds", 1, 0),
    ("workers", 0, -1),
    ("batch_size", 1, 0),
    ("precision", "bf16", "auto"),
    ("n_removed", 1, 0),
]


@pytest.mark.parametrize(("key", "good", "bad"), EDGES)
def test_bounds_at_their_edge(key, good, bad):
    bounds.check(one_key(key, good))
    with pytest.raises(InputError, match=f"^{re.escape(key)}=.*must") as refused:
        bounds.check(one_key(key, bad))
    assert str(bad) in str(refused.value) and "\n" not in str(refused.value)


def test_every_bound_has_an_edge_here():
    assert {key for key, _, _ in EDGES} == set(bounds._BOUNDS)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("key", ["trainer.lr", "model.scale", "trainer.weight_decay", "model.alpha", "some.other"])
def test_a_number_must_be_finite(key, value):
    with pytest.raises(InputError, match=f"^{re.escape(key)}=.*finite"):
        bounds.check(one_key(key, value))
    bounds.check(one_key(key, 0.5))


def test_a_number_in_a_list_must_be_finite():
    with pytest.raises(InputError, match=r"^fractions=.*finite"):
        bounds.check(OmegaConf.create({"fractions": [0.0, math.nan, 1.0]}))


@pytest.mark.parametrize("key", ["data.n_train", "data.image_size", "data.seed"])
def test_nothing_given_is_within_bounds(key):
    bounds.check(one_key(key, None))


def test_a_near_word_is_offered():
    with pytest.raises(InputError, match=r"Did you mean onecycle\?$"):
        bounds.check(one_key("trainer.schedule", "one_cycle"))
    with pytest.raises(InputError) as refused:
        bounds.check(one_key("trainer.schedule", "zzzz"))
    assert "Did you mean" not in str(refused.value)
