"""What a search tried: a table of every variant and its validation accuracy, and a figure of it against cost.

Runs of ``results=RESULTS/search/NAME`` are gathered in ``RESULTS/search/NAME.csv``, each with what a removal benchmark
of the same name and folder found on validation images (``split=val``). The table is what is kept: a variant stays in it
when its run directory is gone, and is replaced when it was run again.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fa_repro.errors import InputError
from fa_repro.plotting import figure
from fa_repro.reporting.collect import ABLATIONS, Group, Run
from fa_repro.reporting.front import own_map

FOLDER = "search"
COLUMNS = [
    "name", "model", "config", "seed", "epochs", "n_train", "parameters", "macs", "images_per_second", "val_top1",
    "share_of_occlusion",
]  # fmt: skip
# Mark, colour and label of each kind of network, by the beginning of its name; the ablations are what is left.
_KINDS = {"resnet": ("D", "#D55E00", "ResNet"), "fa_cnn": ("o", "#0072B2", "FA-CNN"), "": ("s", "#009E73", "ablation")}


def is_search(group: Group) -> bool:
    """Whether a group's runs are a search's."""
    return group.name.split("/")[0] == FOLDER


def searched(results: Path, found: list[Group]) -> dict[str, pd.DataFrame]:
    """Return the table of every search under ``results``: `COLUMNS`, a line for each variant.

    Raises:
        InputError: a table or a run's files can't be read, or a run had no validation images.

    """
    tables = {path.stem: _read(path) for path in sorted((results / FOLDER).glob("*.csv"))}
    for group in found:
        if not is_search(group):
            continue
        name = group.name.partition("/")[2]
        trained = group.runs.get("train", {}).items()
        made = [_line(run, group.get("benchmark-removal", name)) for name, run in trained]
        lines = pd.DataFrame(made, columns=COLUMNS)
        known = tables.get(name, pd.DataFrame(columns=COLUMNS))
        kept = known[~known.name.isin(lines.name)]
        together = pd.concat([kept, lines], ignore_index=True) if len(kept) else lines
        tables[name] = together.sort_values("name", ignore_index=True)
    return tables


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: can't be read ({str(error).splitlines()[0]}).") from None
    if list(table.columns) != COLUMNS:
        raise InputError(f"{path}: is no table of a search; its columns must be {', '.join(COLUMNS)}.")
    return table


def _line(run: Run, benchmark: Run | None) -> dict[str, object]:
    metrics = run.json("metrics.json")
    if metrics.get("val_top1") is None:
        raise InputError(f"{run.path}: has no validation accuracy; a search needs trainer.val_fraction above 0.")
    config = run.config
    model = dict(config["model"])
    words = {**{k: v for k, v in model.items() if k != "name"}, **_flat(config["trainer"])}
    return {
        "name": run.name,
        "model": model["name"],
        "config": " ".join(f"{key}={str(value).replace(' ', '')}" for key, value in words.items()),
        "seed": config["seed"],
        **{key: metrics[key] for key in COLUMNS[4:-1]},
        "share_of_occlusion": _share(model["name"], benchmark),
    }


def _share(network: str, benchmark: Run | None) -> float:
    """Return the LeRF - MoRF area of a network's own map as a share of occlusion's, on validation images; else NaN."""
    if benchmark is None or benchmark.config.get("split") != "val":
        return np.nan  # no choice goes by test images
    table = benchmark.differences
    known = own_map(network) in table.index and "share_of_occlusion" in table
    return float(table.share_of_occlusion[own_map(network)]) if known else np.nan


def _flat(node: dict, prefix: str = "") -> dict[str, object]:
    values: dict[str, object] = {}
    for key, value in node.items():
        values |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return values


def draw(table: pd.DataFrame) -> Figure:
    """Draw validation top-1 against multiply-adds and parameters, a mark for each variant, of its kind of network."""
    fig, (panels,) = figure(1, 2, (4.6, 3.6))
    kinds = np.array([next(kind for kind in _KINDS if name.startswith(kind)) for name in table.model])
    kinds[table.model.isin(ABLATIONS)] = ""
    for kind, (marker, colour, label) in _KINDS.items():
        lines = table[kinds == kind]
        for axes, cost in zip(panels, ("macs", "parameters"), strict=True):
            if len(lines):
                axes.plot(lines[cost] / 1e6, 100 * lines.val_top1, marker, color=colour, label=label, ms=5, alpha=0.8)
    panels[0].set(xlabel="multiply–adds of a forward pass [millions]", ylabel="validation top-1 [%]")
    panels[1].set(xlabel="parameters [millions]")
    panels[1].legend()
    return fig
