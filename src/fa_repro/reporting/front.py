"""What a faithful map costs: accuracy against the map's share of occlusion's area, in networks trained with removal."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from fa_repro.plotting import figure
from fa_repro.reporting.collect import Group, has_class_maps
from fa_repro.reporting.shares import Share, is_behind, over_seeds

COLUMNS = [
    "group", "network", "method", "top1", "seeds", "share_of_occlusion", "sd", "low", "high", "benchmarked", "behind",
]  # fmt: skip
OPEN = " (open: no better than a control)"  # behind the name of an open mark
# Mark, colour, and the map that a network explains itself by: one whose head gives it class maps, and any other.
_OWN, _OTHER = ("o", "#0072B2", "feature_map"), ("D", "#D55E00", "grad_cam")


def own_map(network: str) -> str:
    """Return the method by which a network explains itself: FA-CNN's feature map, Grad-CAM of the others."""
    return _kind(network)[2]


def front(found: list[Group]) -> pd.DataFrame:
    """Return a line for each network that was trained with removal and benchmarked: `COLUMNS`.

    Without removal in training, removed pixels are foreign to a network and the shares say little. ``top1`` is the mean
    over ``seeds`` on test images; the share is that of `over_seeds`, of the ``benchmarked`` ones; ``behind`` is what
    `is_behind` says of them.
    """
    lines = []
    for group in found:
        benchmarks = group.by_network("benchmark-removal")
        for name, runs in group.networks.items():
            method = own_map(name)
            if not group.saw_removal or name not in benchmarks:
                continue
            tables = [run.differences for run in benchmarks[name]]
            if any(method not in table.index for table in tables):
                continue
            seeds = pd.DataFrame([table.loc[method] for table in tables])
            share = over_seeds(seeds)
            if not pd.isna(share.mean):  # a share needs occlusion, and an area of occlusion's above zero
                behind = is_behind(method, seeds)
                lines.append((group.name, name, method, group.top1(name), len(runs), *share, behind))
    return pd.DataFrame(lines, columns=COLUMNS)


def share_of(line: Mapping[Hashable, Any]) -> Share:
    """Return the share that a line of `front` holds."""
    return Share(line["share_of_occlusion"], *(line[name] for name in ("sd", "low", "high", "benchmarked")))


def _kind(network: str) -> tuple[str, str, str]:
    return _OWN if has_class_maps(network) else _OTHER


def draw(table: pd.DataFrame) -> Figure:
    """Draw the share against top-1, a mark for each network; 1 is occlusion itself, of many forward passes.

    The mark is open, and its name says why, where the network's map is behind a control: `is_behind`.
    """
    fig, ((axes,),) = figure(1, 1, (6.0, 4.8))
    axes.axhline(1, ls="--", color="0.4", lw=0.8)
    axes.annotate("occlusion", (0.5, 1), xycoords=("axes fraction", "data"), va="bottom", ha="center", color="0.4")
    for number, line in enumerate(table.sort_values("top1").to_dict("records"), start=1):
        marker, colour, method = _kind(line["network"])
        at = (100 * line["top1"], line["share_of_occlusion"])
        errors = [[max(0.0, at[1] - line["low"])], [max(0.0, line["high"] - at[1])]]  # rounding apart
        words = f"{number}: {line['group']}, {line['network']}, {method.replace('_', ' ')}{OPEN * line['behind']}"
        inside, edge, width = ("white", colour, 1.2) if line["behind"] else (colour, "white", 0.5)
        axes.errorbar(
            *at, yerr=errors, fmt=marker, color=colour, mfc=inside, mec=edge, mew=width, ms=9, capsize=2, lw=0.8,
            label=words,
        )  # fmt: skip
        # Networks may lie close together: a number in the mark, its name below the axes.
        axes.annotate(str(number), at, ha="center", va="center", color=edge, fontsize=6.5, zorder=5)
    axes.margins(x=0.1)
    if len(table):
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=7, frameon=False)
    axes.set(xlabel="test top-1 [%], intact images", ylabel="LeRF − MoRF area, share of occlusion's")
    return fig
