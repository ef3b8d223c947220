"""Every line of the README's table of accuracies has an experiment of its own, whose header states what it gave."""

import json
import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fa_repro.reporting.collect import groups

ROOT = Path(__file__).parents[1]
MACHINES = ("AMD EPYC", "Intel Xeon")  # that runs were made on
ROWS = [
    pytest.param(group.name, network, [run.path for run in runs], id=f"{group.name}-{network}")
    for group in groups(ROOT / "results")
    if group.name != "shapes" and not group.name.startswith("search")  # not in that table
    for network, runs in group.networks.items()
]


def experiment(group: str, network: str) -> Path:
    return ROOT / "configs/experiment" / group.replace("-", "_") / f"{network}.yaml"


def unlike(file: Path, group: str, network: str, runs: list[Path]) -> str:
    """Return what a header says otherwise than the runs, or nothing."""
    header = " ".join(line.lstrip("# ") for line in file.read_text().partition("defaults:")[0].splitlines())
    if f"experiment={group.replace('-', '_')}/{network} " not in header or f"name={network}" not in header:
        return "command"
    if f"results/{group}/train/{network}" not in header:
        return "results"
    stated = re.findall(r"\d\d\.\d+", header.partition("% top-1")[0])
    measured = [100 * json.loads((run / "metrics.json").read_text())["top1"] for run in runs]
    if len(stated) != len(measured):
        return "seeds"
    off = (
        abs(float(a) - b) > 0.5 * 10 ** -len(a.partition(".")[2]) + 1e-9 for a, b in zip(stated, measured, strict=True)
    )
    if any(off):
        return "top-1"
    machine = any(name in header for name in MACHINES)
    return "" if machine and re.search(r"\d minutes?\b|\d+ on one of them", header) else "conditions"


@pytest.mark.parametrize(("group", "network", "runs"), ROWS)
def test_each_row_has_an_experiment_whose_header_states_its_result(group, network, runs):
    assert unlike(experiment(group, network), group, network, runs) == ""


@pytest.mark.parametrize(("group", "network", "runs"), ROWS)
def test_each_experiment_is_of_its_rows_network(group, network, runs):
    defaults = OmegaConf.load(experiment(group, network)).defaults
    assert [item["override /model"] for item in defaults if "override /model" in item] == [network]


def test_a_header_that_says_otherwise_is_found(tmp_path):
    group, network, runs = ROWS[0].values
    text = experiment(group, network).read_text()
    for old, new, what in (
        (f"{group.replace('-', '_')}/{network} ", "other ", "command"),
        (f"results/{group}/train/", "results/", "results"),
        (re.search(r"\d\d\.\d+", text.partition("% top-1")[0])[0], "50.00", "top-1"),
        ("AMD EPYC", "machine", "conditions"),
    ):
        file = tmp_path / "experiment.yaml"
        file.write_text(text.replace(old, new))
        assert unlike(file, group, network, runs) == what
