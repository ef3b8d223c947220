"""The tables of the report: accuracy, proofs, removal, localization, sanity and speed of one group of runs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import pandas as pd

from fa_repro.attribution import CONTROLS
from fa_repro.config import METHODS
from fa_repro.reporting.collect import MODELS, Group, Run
from fa_repro.reporting.shares import BEHIND, is_behind, n_seeds, over_seeds
from fa_repro.reporting.trainings import gaps
from fa_repro.speed.contention import DISTURBED
from fa_repro.tables import cell, markdown_interval, markdown_table

T = TypeVar("T")
NOT_RUN = "Not run."
UNFAMILIAR = " ‡"  # beside a network that saw no pixels removed in training


def spread(values: list[float], digits: int) -> str:
    """Return the mean with the standard deviation over seeds; of one value, the value."""
    column = pd.Series(values)
    mean = f"{column.mean():.{digits}f}"
    return f"{mean} ± {column.std():.{digits}f}" if len(values) > 1 else mean


def _from_to(values: list[float], digits: int) -> str:
    """Return the smallest and the largest value: of runs on busy and idle machines a mean would say nothing."""
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low}–{high}"


def _groups_column(found: Sequence[Group], name: str) -> list[str]:
    """Return the column that tells groups apart: none if there is but one."""
    return [name] if len(found) > 1 else []


def _named(runs: Mapping[str, T]) -> Iterator[tuple[str, T]]:
    """Yield what names lead to with its names, the FA-CNN's first."""
    yield from sorted(runs.items(), key=lambda item: (not item[0].startswith("fa_cnn"), item[0]))


def accuracy_table(found: Sequence[Group]) -> str:
    """Return top-1 and cost of every trained network of the groups, over its seeds."""
    rows = []
    for group in found:
        networks = group.networks
        known = [name for name in MODELS if name in networks]
        for name in known + [name for name in networks if name not in known]:
            metrics = [run.json("metrics.json") for run in networks[name]]
            first = metrics[0]
            rows.append(
                [
                    *_groups_column(found, group.name),
                    f"`{name}`",
                    spread([100 * m["top1"] for m in metrics], 2),
                    str(len(metrics)),
                    f"{first['parameters'] / 1e6:.2f} M",
                    f"{first['macs'] / 1e6:.1f} M",
                    str(first["epochs"]),
                    " or ".join(sorted({m["precision"] for m in metrics})),
                    _from_to([m["images_per_second"] for m in metrics], 0),
                    _from_to([m["seconds"] / 60 for m in metrics], 1),
                ]
            )
    columns = ["test top-1 [%]", "seeds", "parameters", "multiply–adds", "epochs", "precision"]
    columns += ["training images/s", "minutes"]
    return markdown_table([*_groups_column(found, "trained as"), "network", *columns], rows)


def gap_table(found: Sequence[Group]) -> str:
    """Return how far FA-CNNs are ahead of the ResNets of their groups, over several trainings; empty if none has."""
    rows = []
    for group in found:
        for gap in gaps(group):
            own, other = gap.trainings
            names = f"`{gap.network}` − `{gap.resnet}`"
            ahead = markdown_interval(*gap.ahead, gap.digits)
            p = f"{gap.p:.3f}" if gap.p >= 0.001 else "< 0.001"
            rows.append([*_groups_column(found, group.name), names, gap.figure, f"{own}, {other}", ahead, p])
    header = ["networks", "figure", "trainings", "difference [95 %]", "p"]
    return markdown_table([*_groups_column(found, "trained as"), *header], rows) if rows else ""


def proof_table(group: Group) -> str:
    """Return what verify-gradcam answered for every run of a group."""
    rows = []
    for name, run in group.runs.get("verify-gradcam", {}).items():
        identity, morph, parts = (run.table(f) for f in ("identity.csv", "morphing.csv", "decomposition.csv"))

        def answer(holds: bool) -> str:
            return "yes" if holds else "**no**"

        exact = identity[identity.dtype == "float64"]
        rows.append(
            [
                f"`{name}`",
                f"{answer(bool(identity.holds.all()))}, {exact.max_rel_error.max():.1e}",
                f"{answer(bool(morph.holds.all()))}, {morph.relative_change.max():.2f}" if len(morph) else "–",
                f"{morph.cosine_to_previous.min():.2f}" if len(morph) else "–",
                answer(bool((parts.holds.dropna().astype(str) == "True").all())) if len(parts) else "–",
            ]
        )
    if not rows:
        return NOT_RUN
    header = [
        "run",
        "T1: map = Grad-CAM, error",
        "T2: within bound, largest change",
        "smallest cosine",
        "T3: parts add up",
    ]
    return markdown_table(header, rows)


def removal_table(found: Sequence[Group], variants: bool = True) -> str:
    """Return the LeRF - MoRF area of every method on every network of the groups, as a share of occlusion's there.

    A method that is not ahead of every control, beyond the interval of the paired difference, bears a `BEHIND`.

    Args:
        found: the groups.
        variants: whether every run has a line: each seed, and what doesn't bear a network's name, such as
            NAME-nearest; else there is one for each network that was trained, over its seeds.

    """
    rows: list[tuple[list[str], dict[str, str]]] = []
    for group in found:
        alone = {name: [run] for name, run in group.runs.get("benchmark-removal", {}).items()}
        together = {
            name: runs for name, runs in group.by_network("benchmark-removal").items() if name in group.networks
        }
        for name, runs in _named(alone if variants else together):
            table = pd.concat([run.table("differences.csv") for run in runs])
            for imputation, lines in table.groupby("imputation", sort=False) if len(table) else ():
                network = f"`{name}`{'' if group.saw_removal else UNFAMILIAR}"
                by_method = dict(list(lines.groupby("method")))
                most = max(map(n_seeds, by_method.values()))
                images = f"{lines.n.iloc[0]}{f', {most} seeds' if most > 1 else ''}"
                cells = {str(method): _share(str(method), seeds, most) for method, seeds in by_method.items()}
                rows.append(([*_groups_column(found, group.name), network, str(imputation), images], cells))
    return _by_method([*_groups_column(found, "trained as"), "network", "removed pixels", "images"], rows)


def _share(method: str, seeds: pd.DataFrame, trainings: int) -> str:
    measured = f" ({n_seeds(seeds)} of {trainings})" if n_seeds(seeds) < trainings else ""
    return f"{over_seeds(seeds)}{measured}{BEHIND * is_behind(method, seeds)}"


def order_table(run: Run) -> str:
    """Return the areas of every method on one network: MoRF, LeRF, their difference, and how it compares."""
    summary, differences = run.table("summary.csv"), run.table("differences.csv")
    header = ["removed pixels", "method", "MoRF area", "LeRF area", "LeRF − MoRF", "minus reference", "images won"]
    rows = []
    for (imputation, method), lines in summary.groupby(["imputation", "method"], sort=False) if len(summary) else ():
        areas = {str(line.order): cell(line, "auc_probability", 3) for _, line in lines.iterrows()}
        row = [str(imputation), f"`{method}`", areas.get("morf", "–"), areas.get("lerf", "–")]
        found = (
            differences.query("imputation == @imputation and method == @method") if len(differences) else differences
        )
        for _, line in found.iterrows():
            row.append(cell(line, "lerf_minus_morf", 3))
            reference = line.method == line.reference
            row += ["–", "–"] if reference else [cell(line, "minus_reference", 3), cell(line, "won", 2)]
        rows.append(row + ["–"] * (len(header) - len(row)))
    return markdown_table(header, rows) if rows else NOT_RUN


def localization_table(group: Group) -> str:
    """Return the value of every method on every network of a group, a line for each measure, beside chance."""
    rows: list[tuple[list[str], dict[str, str]]] = []
    for name, run in _named(group.runs.get("benchmark-localization", {})):
        table = run.table("localization.csv")
        for measure, lines in table.groupby("measure", sort=False) if len(table) else ():
            cells = {str(line.method): _centred(line, "value", 3) for _, line in lines.iterrows()}
            rows.append(([f"`{name}`", str(measure).replace("_", " "), f"{lines.chance.iloc[0]:.3f}"], cells))
    return _by_method(["network", "measure", "chance"], rows)


def sanity_table(group: Group) -> str:
    """Return the rank correlation of every method's maps with those of the network with all weights drawn anew."""
    rows: list[tuple[list[str], dict[str, str]]] = []
    for name, run in _named(group.runs.get("benchmark-sanity", {})):
        table = run.table("sanity.csv")
        if len(table):
            lines = table[table.depth == table.depth.max()]
            rows.append(
                ([f"`{name}`"], {str(line.method): _centred(line, "correlation", 2) for _, line in lines.iterrows()})
            )
    return _by_method(["network"], rows)


def _centred(line: pd.Series, column: str, digits: int) -> str:
    """Return a value ± half of its interval."""
    return f"{line[column]:.{digits}f} ± {(line.high - line.low) / 2:.{digits}f}" if pd.notna(line[column]) else "–"


def speed_table(group: Group) -> str:
    """Return every ratio that benchmark-speed measured, beside its limit."""
    rows = []
    for name, run in group.runs.get("benchmark-speed", {}).items():
        for _, line in run.table("ratios.csv").iterrows():
            limited = pd.notna(line.met)
            verdict = ("kept" if str(line.met) == "True" else "**not kept**") if limited else "–"
            if limited and line.get("waiting", 0) > DISTURBED:
                verdict = "busy machine, no verdict"
            limit = f"{line.sense} {line.limit:g}" if limited else "–"
            rows.append(
                [
                    f"`{name}`",
                    str(line.comparison),
                    limit,
                    cell(line.rename({"low": "ratio_low", "high": "ratio_high"}), "ratio", 2),
                    verdict,
                ]
            )
    return markdown_table(["run", "ratio of images/s", "limit", "median [range]", ""], rows) if rows else NOT_RUN


def _by_method(header: list[str], rows: Sequence[tuple[list[str], dict[str, str]]]) -> str:
    """Return a table with a column for each method, the controls last; a row is its first cells and those by method."""
    if not rows:
        return NOT_RUN
    place = {method: i for i, method in enumerate(METHODS)}
    methods = {method for _, cells in rows for method in cells}
    order = sorted(methods, key=lambda method: (method in CONTROLS, place.get(method, len(place)), method))
    filled = [[*lead, *(cells.get(method, "–") for method in order)] for lead, cells in rows]
    return markdown_table([*header, *(f"`{method}`" for method in order)], filled)
