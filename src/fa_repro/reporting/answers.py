"""The questions that users ask, answered in a line each: is it true, what does it cost, are the maps any good?"""

from collections.abc import Callable, Sequence

import pandas as pd

from fa_repro.attribution import CONTROLS
from fa_repro.localization.benchmark import ON_MOSAICS
from fa_repro.localization.summary import TITLES, is_ahead
from fa_repro.reporting.claims import LEVEL_POINTS, identity_errors
from fa_repro.reporting.collect import (
    ABLATIONS,
    CONTROL,
    FA_CNNS,
    PLAIN,
    RESNETS,
    UNDAMPED,
    Group,
    Run,
    first_of,
    has_class_maps,
    network_of,
)
from fa_repro.reporting.front import front, own_map, share_of
from fa_repro.reporting.shares import BEHIND, is_behind, over_seeds
from fa_repro.reporting.trainings import in_top1
from fa_repro.speed.contention import DISTURBED
from fa_repro.tables import markdown_interval

# Ratios of `fa-repro benchmark-speed what=explanation`, by the map that a prediction has beside it.
TIMED = {"cost of prediction + feature_map": "feature map", "cost of prediction + depth_map": "depth map"}
DIGITS = 2  # of what localization and sanity tell


def answers(found: Sequence[Group]) -> list[str]:
    """Return the answers that the groups' runs give; of what was not run, none.

    Args:
        found: the groups.

    Returns:
        Lines of a Markdown list: a question and its answer with numbers, under all but the first a line for each group.

    """
    given = [f"- **Is it true?** {true}"] if (true := _true(found)) else []
    for question, lines in (
        (
            "**What does it cost?** Points of top-1 beside the ResNet of the same group, with the 95 % interval where "
            f"both were trained several times (claim C4 allows −{LEVEL_POINTS:g}):",
            _cost(found),
        ),
        (
            "**What does a map cost?** Time of a prediction with its map, of the prediction alone, in the "
            "median of several rounds [range]:",
            _time(found),
        ),
        (
            "**Are the maps any good?** LeRF − MoRF area in percent pixels removed as a share of occlusion's on the "
            f"same network; occlusion takes a forward pass for every patch, permutation several. {BEHIND.strip()}: not "
            "ahead of every control (`random`, `center`) beyond the interval of the paired difference, so no better "
            "than a map that knows nothing of the image:",
            _good(found),
        ),
        (
            "**Do they lie where the object is?** Share of a class's map in that class's cell of a mosaic of images; a "
            "uniform map has its cell's area:",
            _told(found, "benchmark-localization", _in_its_cell),
        ),
        (
            "**And inside its box or mask?** Share of maps whose maximum lies inside (pointing game), and share of the "
            "map that does (energy), beside `center`, a disc in the middle that knows nothing of the image:",
            _told(found, "benchmark-localization", _inside),
        ),
        (
            "**Do they come from what was learned?** Rank correlation with the same network's maps after all weights "
            "were drawn anew; near 1 a map shows the image, whatever was learned:",
            _told(found, "benchmark-sanity", _when_drawn_anew),
        ),
    ):
        if lines:
            given += [f"- {question}", *(f"    - {line}" for line in lines)]
    return given


def _true(found: Sequence[Group]) -> str:
    verified = [
        (network in ABLATIONS, identity_errors(run))
        for group in found
        for network, runs in group.by_network("verify-gradcam").items()
        for run in runs
        if has_class_maps(network) and not network.endswith(CONTROL)
    ]
    own, ablations = ([errors for ablation, errors in verified if ablation == kind] for kind in (False, True))
    if not own:
        return ""
    told = (
        f"In {_held(own)} trained FA-CNNs every class's feature map is its Grad-CAM map: the largest relative error is "
        f"{max(double for _, double, _ in own):.1e} in float64 and {max(single for *_, single in own):.1e} in float32."
    )
    if ablations:
        told += f" So it is in {_held(ablations)} ablations that keep the GAP head: the head alone makes it so."
    return told + _aligned(found)


def _held(errors: Sequence[tuple[bool, float, float]]) -> str:
    return f"{sum(holds for holds, _, _ in errors)} of {len(errors)}"


def _aligned(found: Sequence[Group]) -> str:
    """Say what the skips are for, by the first group that has the network with and without them."""
    for group in found:
        tables = {
            name: run.table("morphing.csv")
            for name in ("fa_cnn", UNDAMPED, PLAIN)
            if (run := group.get("verify-gradcam", name))
        }
        if len(tables) == 3 and all(map(len, tables.values())):
            damped, ordinary, none = (float(table.cosine_to_last.iloc[0]) for table in tables.values())
            return (
                f" Skips align the earlier layers: the first block's maps have a cosine of {damped:.2f} to the last "
                f"ones with dampened skips, {ordinary:.2f} with ordinary ones and {none:.2f} without ({group.name})."
            )
    return ""


def _cost(found: Sequence[Group]) -> list[str]:
    lines = []
    for group in found:
        top1 = {name: 100 * group.top1(name) for name in group.networks}
        resnet = first_of(RESNETS, top1)
        own = [name for name in FA_CNNS if name in top1]
        if resnet and own:
            less = ", ".join(
                f"`{name}` {top1[name] - top1[resnet]:+.2f}{in_top1(group, name, resnet).between}"
                f"{_other_precision(group, name, resnet)}"
                for name in own
            )
            lines.append(f"{group.name}: {less}; `{resnet}` has {top1[resnet]:.1f} %")
    return lines


def _other_precision(group: Group, network: str, resnet: str) -> str:
    """Say in what precisions two networks were trained, if not in the same."""
    own, other = (
        " or ".join(sorted({run.json("metrics.json")["precision"] for run in group.networks[name]}))
        for name in (network, resnet)
    )
    return "" if own == other else f" (in {own}, the ResNet in {other})"


def _time(found: Sequence[Group]) -> list[str]:
    lines = []
    for group in found:
        for run in group.runs.get("benchmark-speed", {}).values():
            ratios = run.table("ratios.csv")
            costs = ratios[ratios.comparison.isin(TIMED)] if len(ratios) else ratios
            if len(costs) and not costs.waiting.iloc[0] > DISTURBED:  # not known on every system
                told = ", ".join(
                    f"{TIMED[str(line.comparison)]} {line.ratio:.2f} [{line.low:.2f}, {line.high:.2f}]"
                    for line in costs.itertuples()
                )
                lines.append(f"{group.name}: {told} (`{run.name.removeprefix('explanation-')}`)")
    return lines


def _good(found: Sequence[Group]) -> list[str]:
    lines = []
    for group in found:
        benchmarks = group.by_network("benchmark-removal")
        shares = []
        for line in front([group]).to_dict("records"):
            told = (
                f"{line['method'].replace('_', ' ')} of `{line['network']}` {share_of(line)}{BEHIND * line['behind']}"
            )
            tables = [run.differences for run in benchmarks[line["network"]]]
            if all("permutation" in table.index for table in tables):
                rival = pd.DataFrame([table.loc["permutation"] for table in tables])
                told += f" (permutation {over_seeds(rival).mean:.2f}{BEHIND * is_behind('permutation', rival)})"
            shares.append(told)
        if shares:
            lines.append(f"{group.name}: {', '.join(shares)}")
    return lines


def _told(found: Sequence[Group], command: str, tell: Callable[[Run, str], str]) -> list[str]:
    """Return a line for each group with runs of ``command``: what ``tell`` says of each network's own map."""
    lines = []
    for group in found:
        runs = group.runs.get(command, {})
        # Beside NAME, a variant such as NAME-contrast has its lines in the report alone.
        alone = {name: run for name, run in runs.items() if name.partition("-")[0] not in runs.keys() - {name}}
        words = [said for name, run in alone.items() if (said := tell(run, own_map(network_of(name))))]
        if words:
            lines.append(f"{group.name}: {', '.join(words)}")
    return lines


def _in_its_cell(run: Run, method: str) -> str:
    table = _localization(run)
    mosaics, peaks = (table[table.measure == name].set_index("method") for name in ("grid", "grid_peak"))
    if method not in mosaics.index:
        return ""
    others = [name for name in ("contrast_map", "occlusion") if name in mosaics.index]
    beside = [f"{name.replace('_', ' ')} {_value(mosaics, name)}" for name in others]
    beside += _controls(mosaics, method)
    words = f"{method.replace('_', ' ')} of `{run.name}` {_value(mosaics, method)} "
    words += f"({', '.join([f'{mosaics.chance[method]:.2f} of a uniform map', *beside])}"
    if method in peaks.index:
        there = [f"share of maxima there {_value(peaks, method)}", *_controls(peaks, method)]
        words += f"; {', '.join(there)}"
    return f"{words})"


def _inside(run: Run, method: str) -> str:
    table = _localization(run)
    told = []
    for measure, part in table[~table.measure.isin(list(ON_MOSAICS))].groupby("measure", sort=False):
        lines = part.set_index("method")
        if method in lines.index:
            beside = [f"{lines.chance[method]:.2f} of a uniform map", *_controls(lines, method, always="center")]
            told.append(f"{TITLES[str(measure)].lower()} {_value(lines, method)} ({', '.join(beside)})")
    return f"{method.replace('_', ' ')} of `{run.name}` {' and '.join(told)}" if told else ""


def _localization(run: Run) -> pd.DataFrame:
    table = run.table("localization.csv")
    return table if len(table) else pd.DataFrame(columns=["measure", "method"])


def _controls(lines: pd.DataFrame, method: str, always: str = "") -> list[str]:
    """Name the controls that a method is not ahead of, and the one to be named ``always``, each with its value.

    Args:
        lines: a measure's lines of ``localization.csv``, by method.
        method: the method.
        always: a control; empty: none.

    """
    told = []
    for control in (name for name in CONTROLS if name in lines.index):
        ahead = is_ahead(lines, method, control)
        if not ahead or control == always:
            told.append(f"`{control}` {_value(lines, control)}{_unbeaten(lines, method, control, ahead)}")
    return told


def _unbeaten(lines: pd.DataFrame, method: str, control: str, ahead: bool | None) -> str:
    """Say how a control stands that a method is not ahead of; ``ahead`` is what `is_ahead` says."""
    if ahead is None:
        return " is not known to be beaten"
    own, other = (lines.value[name].round(DIGITS) for name in (method, control))  # as written: words follow the figures
    return "" if ahead else " is ahead" if other > own else " is not beaten"


def _value(lines: pd.DataFrame, method: str) -> str:
    return markdown_interval(lines.value[method], lines.low[method], lines.high[method], DIGITS)


def _when_drawn_anew(run: Run, method: str) -> str:
    table = run.table("sanity.csv")
    last = table[table.depth == table.depth.max()].set_index("method") if len(table) else table
    if method not in last.index:
        return ""
    figure = markdown_interval(last.correlation[method], last.low[method], last.high[method], DIGITS)
    return f"{method.replace('_', ' ')} of `{run.name}` {figure}"
