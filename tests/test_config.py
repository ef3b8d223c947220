"""The configs: every file composes, every key is typed and explained."""

import re
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf

from fa_repro import bounds, config
from fa_repro.attribution import METHODS, captum_library
from fa_repro.data.torchvision_sets import NAMES
from fa_repro.models import Task, build_model
from fa_repro.training import count_macs

ROOT = Path(str(files("fa_repro.configs")))
COMMANDS = sorted(config.SCHEMAS)
TASK = Task(10, 3, 32, [0.5] * 3, [0.25] * 3)


def choices(group: str, without: str = "") -> list[str]:
    return sorted(path.stem for path in (ROOT / group).glob("*.yaml") if path.stem != without)


@cache
def composed(command: str, *words: str) -> DictConfig:
    GlobalHydra.instance().clear()
    config.register()
    with initialize_config_module("fa_repro.configs", version_base="1.3"):
        cfg = compose(command, overrides=list(words))
    OmegaConf.resolve(cfg)
    return cfg


def leaves(node: DictConfig, prefix: str = "") -> set[str]:
    found: set[str] = set()
    for key in node:
        inner = isinstance(node[key], DictConfig)
        found |= leaves(node[key], f"{prefix}{key}.") if inner else {f"{prefix}{key}"}
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_composes_with_known_keys_alone(command):
    cfg = composed(command)
    bounds.check(cfg)
    assert leaves(cfg) <= config.known_keys(config.SCHEMAS[command])
    assert "results" in cfg and ({"seed", "device", "name", "overwrite"} <= set(cfg)) == (command != "report")
    assert not OmegaConf.missing_keys(cfg)


OTHERS = ("torchvision", "factory")  # classifiers that are not ours, for the benchmarks


@pytest.mark.parametrize("model", [name for name in choices("model", "from_checkpoint") if name not in OTHERS])
def test_each_model_composes(model):
    for words in (("train", f"model={model}"), ("verify_gradcam", f"model={model}", "data=shapes")):
        cfg = composed(*words)
        bounds.check(cfg)
        assert cfg.model.name == model
        assert not OmegaConf.missing_keys(cfg)
        assert leaves(cfg) <= config.known_keys(config.SCHEMAS[words[0]])


@pytest.mark.parametrize("command", ["benchmark_removal", "benchmark_sanity"])
@pytest.mark.parametrize(
    ("words", "missing"),
    [
        (("model=torchvision", "model.name=resnet50"), "model.name"),
        (("model=factory", "model.factory=a.b:c"), "model.factory"),
    ],
)
def test_other_classifiers_compose(command, words, missing):
    cfg = composed(command, *words, "model.weights=file.pt", "layer=layer4", "data=shapes")
    bounds.check(cfg)
    assert (OmegaConf.select(cfg, missing), cfg.model.weights, cfg.layer) == (
        words[1].split("=")[1],
        "file.pt",
        "layer4",
    )
    assert not OmegaConf.missing_keys(cfg)
    assert leaves(cfg) <= config.known_keys(config.SCHEMAS[command])
    assert OmegaConf.missing_keys(composed(command, words[0])) == {missing}


@pytest.mark.parametrize("data", choices("data", "from_checkpoint"))
def test_each_data_set_composes(data):
    for command in ("train", "benchmark_removal", "benchmark_localization"):
        cfg = composed(command, f"data={data}", *(["data.root=somewhere"] if data == "image_folder" else []))
        bounds.check(cfg)
        assert cfg.data.name == data
        assert not OmegaConf.missing_keys(cfg)
        assert leaves(cfg) <= config.known_keys(config.SCHEMAS[command])


@pytest.mark.parametrize("trainer", choices("trainer"))
def test_each_trainer_composes(trainer):
    cfg = composed("train", f"trainer={trainer}")
    bounds.check(cfg)
    assert not OmegaConf.missing_keys(cfg)


@pytest.mark.parametrize(
    "name", ["fa_cnn_fine", "fa_cnn_finer", "fa_cnn_local", "fa_cnn_large", "resnet_whitened", "resnet_small"]
)
def test_networks_that_are_compared_cost_about_the_same(name):
    def cost(name):
        model = build_model(OmegaConf.to_container(composed("train", f"model={name}").model), TASK)
        return count_macs(model.eval(), torch.zeros(1, 3, 32, 32))

    against = "resnet18" if name == "fa_cnn_large" else "fa_cnn"
    assert cost(name) == pytest.approx(cost(against), rel=0.12)


EXPERIMENTS = sorted(
    str(path.relative_to(ROOT / "experiment").with_suffix("")) for path in (ROOT / "experiment").rglob("*.yaml")
)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_each_experiment_composes_and_changes_the_config(experiment):
    cfg = composed("train", f"experiment={experiment}")
    bounds.check(cfg)
    assert not OmegaConf.missing_keys(cfg)
    assert leaves(cfg) <= config.known_keys(config.TrainConfig)
    assert cfg != composed("train")


def test_the_files_name_the_models_and_data_sets_that_exist():
    assert set(choices("data")) == {*NAMES, "shapes", "image_folder", "from_checkpoint"}
    default = [name for name in METHODS if name not in captum_library.BY_CAPTUM]
    assert composed("benchmark_removal").methods == composed("benchmark_localization").methods == default
    assert set(captum_library.BY_CAPTUM) < set(METHODS)
    assert composed("benchmark_localization").measures == list(config.MEASURES)
    assert tuple(METHODS) == config.METHODS


@pytest.mark.parametrize(("data", "mirrors"), [("mnist", False), ("svhn", False), ("cifar10", True), ("shapes", True)])
def test_flip_follows_the_data_set(data, mirrors):
    assert composed("train", f"data={data}").trainer.augment.flip is mirrors


@pytest.mark.parametrize(
    ("model", "values"),
    [
        ("fa_cnn_undamped", {"skip": "undamped"}),
        ("fa_cnn_plain", {"skip": "none"}),
        ("fa_cnn_linear_head", {"head": "linear"}),
        ("fa_cnn_unordered", {"skip": "none", "head": "linear"}),
    ],
)
def test_an_ablation_differs_from_fa_cnn_in_what_it_takes_away(model, values):
    base, other = composed("train").model, composed("train", f"model={model}").model
    assert {k: other[k] for k in base if base[k] != other[k]} == {"name": model} | values


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("train", "sed=1"),
        ("train", "trainer.epoch=1"),
        ("train", "trainer.augment.crops=1"),
        ("train", "n_images=3"),
        ("report", "trainer.epochs=1"),
    ],
)
def test_an_unknown_key_does_not_compose(command, word):
    with pytest.raises(ConfigCompositionException):
        composed(command, word)


@pytest.mark.parametrize(
    "word",
    [
        "seed=abc",
        "overwrite=2.5",
        "trainer.lr=fast",
        "trainer.augment.flip=perhaps",
        "model.blocks=[a]",
        "model.blocks=2",
        "data.n_train=many",
    ],
)
def test_a_wrong_type_does_not_compose(word):
    with pytest.raises(ConfigCompositionException):
        composed("train", word)


def test_a_right_type_composes():
    cfg = composed("train", "seed=2", "trainer.lr=1", "model.blocks=[2]", "data.n_train=7", "data.download=true")
    assert (cfg.seed, cfg.trainer.lr, cfg.model.blocks, cfg.data.n_train, cfg.data.download) == (2, 1.0, [2], 7, True)


def test_known_keys_are_those_of_the_command():
    train, report = config.known_keys(config.TrainConfig), config.known_keys(config.ReportConfig)
    assert {"seed", "data.n_train", "model.alpha", "model.widths", "trainer.augment.removal"} <= train
    assert report == {"results", "readme"}
    assert not train & {"n_images", "checkpoint"}


KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z_][\w./@ ]*):(?P<rest>.*)$")
UNEXPLAINED = ("defaults", "name")  # what they are is Hydra's matter, or said by the file's name


def explained(text: str) -> dict[str, bool]:
    """Return every dotted key that has a value, and whether a comment stands beside it."""
    found: dict[str, bool] = {}
    above: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = KEY.match(line)
        if not match:
            continue
        indent = len(match["indent"])
        above = [*(pair for pair in above if pair[0] < indent), (indent, match["key"])]
        value, _, comment = f" {match['rest']}".partition(" #")
        if value.strip():
            found[".".join(key for _, key in above)] = bool(comment.strip())
    return found


SWEPT = "hydra.sweeper.params"  # below it, keys that are explained elsewhere


def explanations(path: Path) -> dict[str, bool]:
    keys = explained(path.read_text())
    top_level = path.parent == ROOT or "experiment" in path.parts
    prefix = "" if top_level else f"{path.parent.name}."
    return {prefix + key: told for key, told in keys.items() if key not in UNEXPLAINED and not key.startswith(SWEPT)}


# Of the rest, from_checkpoint has a name alone, and runner has keys of Hydra's alone.
FILES = [path for path in sorted(ROOT.rglob("*.yaml")) if path.stem not in ("from_checkpoint", "runner")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_key_is_explained_where_it_stands_or_where_it_is_first_set(path):
    own = explanations(path)
    assert own or path.stem == "resnet18" or path.parent.parent.name == "experiment"
    inherited: set[str] = set()
    if "experiment" in path.parts or path.stem.startswith("fa_cnn_"):
        inherited = {key for other in FILES for key, told in explanations(other).items() if told}
    assert [key for key, told in own.items() if not told and key not in inherited] == []


def test_a_key_without_a_comment_is_found():
    text = "# A file.\na: 1  # told\nb: 2\nc:\n  d: x  # told\n  e: '#'\nf: 3 #\n"
    assert explained(text) == {"a": True, "b": False, "c.d": True, "c.e": False, "f": False}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.yaml")), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_says_what_it_is_first(path):
    lines = path.read_text().splitlines()
    assert next(line for line in lines if not line.startswith("# @package")).startswith("# ")
