"""Every line of the README's table of accuracies has an experiment of its own, whose header states what it gave."""

import json
import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[1]
MACHINES = ("AMD EPYC", "Intel Xeon")  # that runs were made on


def _git(*words: str) -> str:
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout


def rows() -> dict[tuple[str, str], list[float]]:
    """Return the test top-1 of every committed training, in percent, seed by seed, by group and network.

    Of what was made again here, as by the README's commands, the headers don't speak.
    """
    try:
        files = _git("ls-files", ":(glob)results/*/train/*/metrics.json").split()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("what is committed is not known outside a checkout", allow_module_level=True)
    found = defaultdict(list)
    for file in sorted(files, key=lambda file: file.split("/")):  # seed by seed
        _, group, _, name, _ = file.split("/")
        if group != "shapes":  # which is not in that table
            found[group, re.sub(r"-seed\d+$", "", name)].append(100 * json.loads(_git("show", f":{file}"))["top1"])
    return found


ROWS = [pytest.param(*row, measured, id="-".join(row)) for row, measured in rows().items()]


def experiment(group: str, network: str) -> Path:
    return ROOT / "configs/experiment" / group.replace("-", "_") / f"{network}.yaml"


def unlike(file: Path, group: str, network: str, measured: list[float]) -> str:
    """Return what a header says otherwise than was measured, or nothing."""
    header = " ".join(line.lstrip("# ") for line in file.read_text().partition("defaults:")[0].splitlines())
    if f"experiment={group.replace('-', '_')}/{network} " not in header or f"name={network}" not in header:
        return "command"
    if f"results/{group}/train/{network}" not in header:
        return "results"
    stated = re.findall(r"\d\d\.\d+", header.partition("% top-1")[0])
    if len(stated) != len(measured):
        return "seeds"
    off = (
        abs(float(a) - b) > 0.5 * 10 ** -len(a.partition(".")[2]) + 1e-9 for a, b in zip(stated, measured, strict=True)
    )
    if any(off):
        return "top-1"
    machine = any(name in header for name in MACHINES)
    return "" if machine and re.search(r"\d minutes?\b|\d+ on one of them", header) else "conditions"


@pytest.mark.parametrize(("group", "network", "measured"), ROWS)
def test_each_row_has_an_experiment_whose_header_states_its_result(group, network, measured):
    assert unlike(experiment(group, network), group, network, measured) == ""


@pytest.mark.parametrize(("group", "network", "measured"), ROWS)
def test_each_experiment_is_of_its_rows_network(group, network, measured):
    defaults = OmegaConf.load(experiment(group, network)).defaults
    assert [item["override /model"] for item in defaults if "override /model" in item] == [network]


def test_a_header_that_says_otherwise_is_found(tmp_path):
    group, network, measured = ROWS[0].values
    text = experiment(group, network).read_text()
    for old, new, what in (
        (f"{group.replace('-', '_')}/{network} ", "other ", "command"),
        (f"results/{group}/train/", "results/", "results"),
        (re.search(r"\d\d\.\d+", text.partition("% top-1")[0])[0], "50.00", "top-1"),
        ("AMD EPYC", "machine", "conditions"),
    ):
        file = tmp_path / "experiment.yaml"
        file.write_text(text.replace(old, new))
        assert unlike(file, group, network, measured) == what
