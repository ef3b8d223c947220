"""scripts/reproduce.sh makes the runs that the report asks for, and searches every grid."""

import os
import subprocess
from pathlib import Path

import pytest

from fa_repro.reporting.collect import GPU_SEEDS, ON_A_GPU, PROFILES, Group


def commands_of(folder, *words):
    """Run scripts/reproduce.sh with a command that writes down what it is told to do; return that."""
    script = Path(__file__).parents[1] / "scripts" / "reproduce.sh"
    (folder / "fa-repro").write_text('#!/bin/sh\necho "$@" >> words\n')
    (folder / "fa-repro").chmod(0o755)
    subprocess.run(["bash", str(script), *words], cwd=folder, env=os.environ | {"BIN": "."}, check=True)
    *lines, last = (folder / "words").read_text().splitlines()
    assert last == "report"
    return [line.split() for line in lines]


@pytest.mark.parametrize(
    "words",
    [["shapes"], *([profile, "data"] for profile in ("cifar10", "tiny_imagenet", "imagenette", "fashion_mnist"))],
)
def test_the_script_makes_the_runs_that_the_report_asks_for(tmp_path, words):
    made = set()
    for command, *rest in commands_of(tmp_path, *words):
        keys = dict(word.split("=", 1) for word in rest)
        made.add((keys["results"].removeprefix("results/"), f"{command}/{keys['name']}"))
    groups = [Group(name, tmp_path / name) for name in PROFILES if name.startswith(words[0])]
    asked = {(group.name, run) for group in groups for run in group.missing()}
    assert made == asked and len(asked) >= 4


@pytest.mark.parametrize("profile", ON_A_GPU)
def test_a_gpus_experiments_have_their_networks_and_seeds(tmp_path, profile):
    lines = [
        (line[0], dict(word.split("=", 1) for word in line[1:])) for line in commands_of(tmp_path, profile, "data")
    ]
    trained = [keys for command, keys in lines if command == "train"]
    assert all(keys["experiment"] == profile and keys["data.root"] == "data" for keys in trained)
    assert {keys["results"] for _, keys in lines} == {f"results/{'-'.join(profile.rsplit('_', 1))}"}
    wanted = [(str(seed), network) for seed in range(GPU_SEEDS) for network in ON_A_GPU[profile]]
    assert [(keys["seed"], keys["model"]) for keys in trained] == wanted
    assert len({keys["name"] for keys in trained}) == len(wanted)
    for command in ("verify-gradcam", "benchmark-removal"):
        assert [keys["name"] for other, keys in lines if other == command] == list(ON_A_GPU[profile])


def test_the_script_searches_every_grid_and_judges_the_maps_where_removal_was_seen(tmp_path):
    grids = {file.stem for file in (Path(__file__).parents[1] / "configs/experiment/search").glob("*.yaml")}
    for name, share in (("a", "0.5"), ("b", "0.5"), ("c", "0.0")):
        folder = tmp_path / "results/search/cifar10/train" / name
        folder.mkdir(parents=True)
        (folder / "config.yaml").write_text(f"trainer:\n  augment:\n    removal: {share}\n")
    lines = commands_of(tmp_path, "search", "data")
    trainings = [line for line in lines if line[0] == "train"]
    assert sorted(line[4].removeprefix("experiment=search/") for line in trainings) == sorted(grids - {"base"})
    assert all(line[:4] == ["train", "-m", "data=cifar10", "data.root=data"] for line in trainings)
    judged = lines[len(trainings) :]
    assert all("split=val" in line and line[0] == "benchmark-removal" for line in judged)
    assert [line[-2] for line in judged] == ["name=a", "name=b"]
    folder = "checkpoint=results/search/cifar10/train"
    assert [line[1] for line in judged] == [f"{folder}/{name}/checkpoint.pt" for name in ("a", "b")]
