"""Find every finished run under a results folder and read its tables."""

import json
import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf
from yaml import YAMLError

from fa_repro.errors import InputError

UNDAMPED, PLAIN, LINEAR_HEAD = "fa_cnn_undamped", "fa_cnn_plain", "fa_cnn_linear_head"
ALONE = (UNDAMPED, PLAIN, LINEAR_HEAD)  # without one order-preserving layer
UNORDERED = "fa_cnn_unordered"  # without any
ABLATIONS = (*ALONE, UNORDERED)
FA_CNNS = (
    "fa_cnn_fine",
    "fa_cnn",
    "fa_cnn_finer",
    "fa_cnn_local",
    "fa_cnn_large",
)  # what the claims are judged on: the first of them that was run
RESNETS = ("resnet_whitened", "resnet_small", "resnet18")  # what FA-CNN is held against: the first of them that was run
# In the order of the tables.
MODELS = ("fa_cnn", "fa_cnn_fine", "fa_cnn_finer", "fa_cnn_local", "fa_cnn_large", *ABLATIONS, *RESNETS)
# The networks of a profile, as in scripts/reproduce.sh, by group; the report says which of their runs are missing.
CIFAR10 = ("fa_cnn", "fa_cnn_fine", "fa_cnn_finer", "fa_cnn_local", *ALONE, "resnet_whitened", "resnet_small")
PROFILES = {
    "shapes": ("fa_cnn", *ALONE, "resnet_whitened"),
    "cifar10": CIFAR10,
    "cifar10-long": ("fa_cnn", "resnet_whitened"),
    "cifar10-removal": CIFAR10,
    "cifar10-locality": ("fa_cnn", "fa_cnn_fine", "fa_cnn_local", "resnet_whitened"),
    "tiny_imagenet": ("fa_cnn_fine", "resnet_whitened"),
    "imagenette": ("fa_cnn_fine", "resnet_whitened"),
    "fashion_mnist": ("fa_cnn", "resnet_small"),
}
# What is done with each network of a group, where it isn't this; and with more seeds of the chosen ones.
ASKED = ("train", "verify-gradcam", "benchmark-removal")
ASKED_WITH_BOXES = ("train", "verify-gradcam", "benchmark-localization")
ASKED_OF = {
    "tiny_imagenet": ASKED_WITH_BOXES,
    "imagenette": ASKED_WITH_BOXES,
    "cifar10-long": ("train", "verify-gradcam"),
    "fashion_mnist": ("train", "verify-gradcam"),
}
CHOSEN, MORE_SEEDS = ("fa_cnn_fine", "resnet_whitened"), (1, 2)
ASKED_OF_SEEDS = {"cifar10": ("train",), "cifar10-removal": ("train", "benchmark-removal")}
# Of their benchmark-removal beside NAME: NAME-VARIANT, with other words.
VARIANTS = {"cifar10-locality": ("nearest", "patches", "imputations")}
# The experiments that want a GPU, with their networks, as in scripts/reproduce.sh; a group has a hyphen for the last
# underscore.
ON_A_GPU = {
    "cifar10_gpu": ("fa_cnn_large", "resnet18"),
    "fashion_mnist_gpu": ("fa_cnn_large", "resnet18"),
    "imagenette_gpu": ("fa_cnn", "resnet_whitened", "resnet18"),
}
GPU_SEEDS = 3  # of each network
MAPS_OF = ("shapes", "cifar10")  # the groups where it is asked where maps lie and what they come from, and the control
CONTROL = "-probability"  # behind a network's name: the identity was asked of the probability, and must fail


# DATA-MODEL-seedN, what a run is called that was given no name; DATA-MODEL-seedsN-M of several checkpoints together.
JOINT = r"-seeds\d+(?:-\d+)+"
SEEDS = rf"(?:-seed\d+|{JOINT})"
DEFAULT_NAME = re.compile(rf"(?P<data>.+)-(?P<model>{'|'.join(MODELS)})(?P<seeds>{SEEDS})")
# The speeds' default names begin with what was timed, and are told in full.
UNSHORTENED = "benchmark-speed"


def network_of(name: str) -> str:
    """Return the network of a run: NAME-seedN is NAME with another seed, NAME-seedsN-M with several."""
    return re.sub(f"{SEEDS}$", "", name)


def is_joint(name: str) -> bool:
    """Say whether a run's name is that of several trainings' checkpoints together."""
    return re.search(f"{JOINT}$", name) is not None


def first_of(names: Iterable[str], found: Container[str]) -> str | None:
    """Return the first of ``names``, such as `FA_CNNS` or `RESNETS`, that is among those ``found``."""
    return next((name for name in names if name in found), None)


def has_class_maps(network: str) -> bool:
    """Say whether a network is an FA-CNN with the GAP head, whose feature maps belong to classes."""
    return network.startswith("fa_cnn") and network not in (LINEAR_HEAD, UNORDERED)


def short_name(name: str) -> str:
    """Return what a run under its default name is called beside others of its data set: MODEL, or MODEL-seedN."""
    match = DEFAULT_NAME.fullmatch(name)
    if match is None:
        return name
    return match["model"] + match["seeds"].removesuffix("-seed0")


def short_device(words: str) -> str:
    """Leave out of a device's words what tells no two machines apart, such as ``(R)`` and ``(x86_64)``."""
    return re.sub(r"^cpu |\s*\([^)]*\)| Processor\b", "", words)


@dataclass(frozen=True)
class Run:
    """One finished run: its directory, how it was made, and its files on demand."""

    path: Path
    provenance: dict[str, Any]

    @property
    def name(self) -> str:
        """The run's name, the last part of its directory."""
        return self.path.name

    def table(self, file: str) -> pd.DataFrame:
        """Return a CSV file of the run; empty if it has none.

        Raises:
            InputError: the file is there and can't be read.

        """
        path = self.path / file
        if not path.exists():
            return pd.DataFrame()
        try:
            return pd.read_csv(path)
        except (ValueError, OSError) as error:
            raise InputError(f"{path}: can't be read ({str(error).splitlines()[0]}). Run it again.") from None

    @property
    def differences(self) -> pd.DataFrame:
        """``differences.csv`` of benchmark-removal, by method, under the first imputation that was named; may be empty.

        Raises:
            InputError: the file is there and can't be read.

        """
        table = self.table("differences.csv")
        return table[table.imputation == table.imputation.iloc[0]].set_index("method") if len(table) else table

    @cached_property
    def config(self) -> dict[str, Any]:
        """The run's resolved config; empty if it has none.

        Raises:
            InputError: the file is there and can't be read.

        """
        path = self.path / "config.yaml"
        if not path.exists():
            return {}
        try:
            config = OmegaConf.to_container(OmegaConf.load(path))
        except (YAMLError, OSError) as error:
            raise InputError(f"{path}: can't be read ({str(error).splitlines()[0]}). Run it again.") from None
        assert isinstance(config, dict)
        return {str(key): value for key, value in config.items()}

    def json(self, file: str) -> dict[str, Any]:
        """Return a JSON file of the run.

        Raises:
            InputError: the file can't be read.

        """
        return _read_json(self.path / file)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: can't be read ({type(error).__name__}). Run it again.") from None


@dataclass(frozen=True)
class Group:
    """All runs in one folder ``GROUP/SUBCOMMAND/NAME/``, such as results/cifar10."""

    name: str
    path: Path

    @cached_property
    def runs(self) -> dict[str, dict[str, Run]]:
        """Runs by subcommand and name, of one data set's under their default names by `short_name`."""
        found: dict[str, dict[str, Run]] = {}
        files = sorted(self.path.glob("*/*/provenance.json"))
        shortened = [file.parent.name for file in files if file.parent.parent.name != UNSHORTENED]
        data_sets = {match["data"] for name in shortened if (match := DEFAULT_NAME.fullmatch(name))}
        for file in files:
            run = Run(file.parent, _read_json(file))
            command = file.parent.parent.name
            of_command = found.setdefault(command, {})
            short = short_name(run.name) if len(data_sets) == 1 and command != UNSHORTENED else run.name
            # Where a run was given the name that another would be called by, both keep their own.
            of_command[run.name if (file.parent.parent / short).is_dir() else short] = run
        return found

    def get(self, command: str, name: str) -> Run | None:
        """Return a run, or None if it is missing."""
        return self.runs.get(command, {}).get(name)

    @cached_property
    def networks(self) -> dict[str, list[Run]]:
        """Training runs by network."""
        return self.by_network("train")

    def by_network(self, command: str) -> dict[str, list[Run]]:
        """Return the runs of a command by network; one of several trainings counts where there is none of each."""
        runs = self.runs.get(command, {})
        alone = {network_of(name) for name in runs if not is_joint(name)}
        found: dict[str, list[Run]] = {}
        for name, run in runs.items():
            if not (is_joint(name) and network_of(name) in alone):
                found.setdefault(network_of(name), []).append(run)
        return found

    def top1(self, network: str) -> float:
        """Return the mean top-1 over the seeds of one of `networks`, from 0 to 1."""
        runs = self.networks[network]
        return sum(run.json("metrics.json")["top1"] for run in runs) / len(runs)

    @property
    def saw_removal(self) -> bool:
        """Whether every network of the group saw pixels removed in training."""
        return bool(self.removal_words)

    @cached_property
    def removal_words(self) -> str:
        """What every training of the group removed from its images, in words; empty if one of them removed nothing."""
        words = set()
        for run in self.runs.get("train", {}).values():
            trainer = run.config.get("trainer", {})
            share = trainer.get("augment", {}).get("removal")
            if not share:
                return ""
            words.add(f"{share:.0%} of the training images had pixels removed.")
            if weight := trainer.get("locality"):
                words.add(f"A loss of weight {weight:g} had the maps say nothing where they were gone.")
        return " ".join(sorted(words))

    def missing(self) -> Iterator[str]:
        """Yield SUBCOMMAND/NAME of every run of a profile that is not there."""
        networks = PROFILES.get(self.name, ())
        wanted = [f"{c}/{name}" for name in networks for c in ASKED_OF.get(self.name, ASKED)]
        for command in ASKED_OF_SEEDS.get(self.name, ()):
            wanted += [f"{command}/{name}-seed{seed}" for name in CHOSEN for seed in MORE_SEEDS]
        for variant in VARIANTS.get(self.name, ()):
            wanted += [f"benchmark-removal/{name}-{variant}" for name in CHOSEN]
        if self.name in MAPS_OF:
            own = next(name for name in FA_CNNS if name in networks)
            wanted.append(f"verify-gradcam/{own}{CONTROL}")
            wanted += [f"{c}/{n}" for n in (own, RESNETS[0]) for c in ("benchmark-localization", "benchmark-sanity")]
        yield from (name for name in wanted if self.get(*name.split("/")) is None)


def not_run_on_a_gpu(found: list[Group]) -> list[str]:
    """Return the words of the GPU experiments whose networks were not all trained with `GPU_SEEDS` seeds."""
    trained = {group.name: group.networks for group in found}
    lacking = []
    for experiment, wanted in ON_A_GPU.items():
        networks = trained.get("-".join(experiment.rsplit("_", 1)), {})
        few = [name for name in wanted if len(networks.get(name, ())) < GPU_SEEDS]
        if few:
            lacking.append(f"experiment={experiment} model={','.join(few)}")
    return lacking


def groups(results: Path) -> list[Group]:
    """Return every folder under ``results`` that holds runs, real data before the embedded set."""
    folders = {file.parent.parent.parent for file in results.glob("**/*/*/provenance.json")}
    named = [Group("." if folder == results else folder.relative_to(results).as_posix(), folder) for folder in folders]
    return sorted(named, key=lambda group: (group.name == "shapes", group.name))
