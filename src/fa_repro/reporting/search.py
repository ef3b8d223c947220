"""What a search tried: a table of every variant, its validation accuracy and its map's worth, and a figure of both.

Runs of ``results=RESULTS/search/NAME`` are gathered in ``RESULTS/search/NAME.csv``, each with what a removal benchmark
of the same name and folder found on validation images (``split=val``). The table is what is kept: a variant stays in it
when its run directory is gone, and is replaced when it was run again.
"""

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from fa_repro.errors import InputError
from fa_repro.plotting import figure
from fa_repro.reporting.collect import ABLATIONS, Group, Run
from fa_repro.reporting.front import own_map

FOLDER = "search"
COLUMNS = [
    "name", "model", "config", "removal", "locality", "seed", "device", "epochs", "n_train", "parameters", "macs",
    "precision", "images_per_second", "val_top1", "share_of_occlusion",
]  # fmt: skip
# Mark, colour and label of each kind of network, by the beginning of its name; the ablations are what is left.
_KINDS = {"resnet": ("D", "#D55E00", "ResNet"), "fa_cnn": ("o", "#0072B2", "FA-CNN"), "": ("s", "#009E73", "ablation")}
_NEAR = 5  # points from a mark to its label; to one further off leads a line
# Where a label may stand, the best place first.
_PLACES = [
    (far * x, far * y)
    for far in (_NEAR, 11, 18, 25)
    for x, y in ((0.7, 0.7), (0.7, -0.7), (1, 0), (-0.7, 0.7), (-0.7, -0.7), (-1, 0), (0, 1), (0, -1))
]


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
        "removal": words.get("augment.removal", 0.0),
        "locality": words.get("locality", 0.0),
        "seed": config["seed"],
        "device": run.provenance["device"],
        **{key: metrics[key] for key in COLUMNS[COLUMNS.index("epochs") : -1]},
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
    """Draw what was tried, a mark for each variant, of its kind of network.

    Validation top-1 against multiply-adds and parameters, of networks that saw whole images; and, where maps were
    judged by removal, the share of occlusion's area against validation top-1, of networks that saw removal. Grey lines
    join a network and what was changed of it.
    """
    kinds = np.array([next(kind for kind in _KINDS if name.startswith(kind)) for name in table.model])
    kinds[table.model.isin(ABLATIONS)] = ""
    whole, judged = table.removal == 0, (table.removal > 0) & table.share_of_occlusion.notna()
    fig, (panels,) = figure(1, 3 if judged.any() else 2, (4.6, 3.6))
    for kind, (marker, colour, label) in _KINDS.items():
        lines = table[(kinds == kind) & whole]
        for axes, cost in zip(panels[:2], ("macs", "parameters"), strict=True):
            if len(lines):
                size, fill = (5, colour) if kind else (8, "none")  # ablations cost what FA-CNN does: they lie around it
                axes.plot(lines[cost] / 1e6, 100 * lines.val_top1, marker, color=colour, mfc=fill, label=label, ms=size)
    panels[0].set(xlabel="multiply–adds of a forward pass [millions]", ylabel="validation top-1 [%]")
    panels[1].set(xlabel="parameters [millions]")
    for axes in panels[:2]:
        axes.set_xscale("log")  # a ResNet-18 costs ten times what the others do
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    if whole.any():
        panels[1].legend()
    if judged.any():
        _draw_shares(fig, panels[2], table[judged].assign(kind=kinds[judged]))
    return fig


def _draw_shares(fig: Figure, axes: Axes, table: pd.DataFrame) -> None:
    axes.axhline(1, ls="--", color="0.4", lw=0.8)
    occlusion = axes.annotate(
        "occlusion", (0, 1), (3, 1), ("axes fraction", "data"), "offset points", va="bottom", color="0.4", fontsize=7
    )
    for line in table.to_dict("records"):
        marker, colour, _ = _KINDS[line["kind"]]
        axes.plot(*_at(line), marker, color=colour, ms=5, mfc=colour if line["locality"] else "none")
    axes.margins(x=0.25, y=0.15)
    axes.set_title("trained with removal; filled: with the loss on the maps")
    axes.set(xlabel="validation top-1 [%]", ylabel="own map, share of occlusion's LeRF − MoRF")
    fig.draw_without_rendering()  # where things lie is known once they are laid out
    _label(axes, table, [thing.get_window_extent() for thing in (occlusion, *axes.lines)])


def _at(line: Mapping[Hashable, Any]) -> tuple[float, float]:
    return 100 * line["val_top1"], line["share_of_occlusion"]


def _label(axes: Axes, table: pd.DataFrame, taken: list[Bbox]) -> None:
    """Name the marks of ``table`` where nothing is ``taken``: networks, and what is changed of one, joined to it."""
    table = table.assign(changed=[_changed(*words) for words in zip(table.name, table.config, strict=True)])
    named = table.groupby(["model", "changed", "locality"]).share_of_occlusion.idxmax()  # seeds share one label
    networks: dict[tuple[str, float], tuple[float, float]] = {}
    for line in table.loc[named.sort_index(level="changed")].to_dict("records"):  # what has no change comes first
        at, words, network = _at(line), line["changed"], (line["model"], line["locality"])
        if not words:
            networks[network], words = at, line["model"]
        elif network in networks:
            axes.plot(*zip(networks[network], at, strict=True), color="0.85", lw=0.6, zorder=0)
        else:
            words = f"{line['model']}, {words}"
        label = axes.annotate(words, at, (0, 0), textcoords="offset points", fontsize=5.5 if line["changed"] else 6.5)
        taken.append(_place(axes, label, taken))
        if np.hypot(*label.xyann) > _NEAR:
            leader = {"arrowstyle": "-", "color": "0.4", "lw": 0.5, "shrinkA": 0, "shrinkB": 3}
            axes.annotate("", at, label.xyann, textcoords="offset points", arrowprops=leader)


def _place(axes: Axes, label: Annotation, taken: list[Bbox]) -> Bbox:
    """Put a label to the first of `_PLACES` where it runs into the least; return the room that it takes."""

    def room(place: tuple[float, float]) -> Bbox:
        x, y = label.xyann = place
        label.set(ha="center" if not x else "left" if x > 0 else "right")
        label.set(va="center" if not y else "bottom" if y > 0 else "top")
        return label.get_window_extent().padded(1)

    def met(place: tuple[float, float]) -> int:
        box = room(place)
        return box.count_overlaps(taken) + sum(not axes.bbox.contains(*corner) for corner in (box.min, box.max))

    return room(min(_PLACES, key=met))


def _changed(name: str, config: str) -> str:
    """Return which of its keys a variant's name holds, and their values, such as ``depth 2 2 1``; else "".

    The loss on the maps is left out: a filled mark tells of it.
    """
    changed = []
    for key, _, value in (word.partition("=") for word in config.split()):
        if key != "locality" and re.search(rf"-(model|trainer)\.{re.escape(key)}_", name):
            changed.append(f"{key.rpartition('.')[2].replace('_', ' ')} {value.strip('[]').replace(',', ' ')}")
    return ", ".join(changed)
