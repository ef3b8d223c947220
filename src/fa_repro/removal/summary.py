"""The tables of percent pixels removed: curves, one line for each method and order, the LeRF - MoRF area, the page."""

import numpy as np
import pandas as pd

from fa_repro.attribution import CONTROLS
from fa_repro.removal.benchmark import Measured
from fa_repro.removal.statistics import area, percent_until_flip
from fa_repro.statistics import Bootstrap
from fa_repro.tables import cell, columns, markdown_table

SHIFT_FRACTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)  # at which removal at random is judged, or the nearest measured


def curves_table(measured: Measured, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return the mean target probability with its interval, shares kept and correct, at every fraction."""
    lines = []
    correct = measured.prediction == measured.labels
    for m, method in enumerate(measured.methods):
        for o, order in enumerate(measured.orders):
            value, low, high = bootstrap.mean(measured.probability[m, o].T)
            lines.append(
                pd.DataFrame(
                    {
                        "method": method,
                        "order": order,
                        "imputation": measured.imputation,
                        "fraction": measured.fractions,
                        "target_probability": value,
                        "target_probability_low": low,
                        "target_probability_high": high,
                        "kept": measured.kept[m, o].mean(1),
                        "accuracy": correct[m, o].mean(1),
                        "n": len(measured.labels),
                    }
                )
            )
    return pd.concat(lines, ignore_index=True)


def summary_table(measured: Measured, bootstrap: Bootstrap) -> pd.DataFrame:
    """Return one line for each method and order: areas, percent until the flip, degenerate maps, seconds."""
    lines = []
    for m, method in enumerate(measured.methods):
        for o, order in enumerate(measured.orders):
            flips = percent_until_flip(measured.kept[m, o], measured.fractions)
            lines.append(
                {"method": method, "order": order, "imputation": measured.imputation, "n": len(measured.labels)}
                | columns(
                    "auc_probability",
                    bootstrap.interval(area(measured.probability[m, o], measured.fractions)),
                )
                | columns(
                    "auc_kept",
                    bootstrap.interval(area(measured.kept[m, o].astype(float), measured.fractions)),
                )
                | columns("flip_percent_median", bootstrap.median(flips))
                | columns("flip_percent_mean", bootstrap.interval(flips))
                | {
                    "degenerate_maps": int(measured.degenerate[m].sum()),
                    "seconds": float(measured.seconds[m]),
                }
            )
    return pd.DataFrame(lines)


def difference_table(measured: Measured, bootstrap: Bootstrap) -> pd.DataFrame | None:
    """Return the LeRF - MoRF area of each method, and how it compares on the same images.

    Columns: ``lerf_minus_morf`` (area under the target probability, LeRF minus MoRF: the larger, the better the order),
    ``minus_reference`` (paired difference from ``feature_map``, or from the first method where the model has none),
    ``won`` (share of images on which it is larger than the reference's), ``share_of_occlusion``; each figure with its
    interval. None without both orders.
    """
    if set(measured.orders) != {"morf", "lerf"}:
        return None
    morf, lerf = measured.orders.index("morf"), measured.orders.index("lerf")
    areas = {
        method: area(measured.probability[m, lerf], measured.fractions)
        - area(measured.probability[m, morf], measured.fractions)
        for m, method in enumerate(measured.methods)
    }
    reference = "feature_map" if "feature_map" in areas else measured.methods[0]
    lines = []
    for method, values in areas.items():
        line: dict[str, object] = {"method": method, "imputation": measured.imputation}
        line |= {"control": method in CONTROLS, "n": len(values)}
        line |= columns("lerf_minus_morf", bootstrap.interval(values))
        line |= {"reference": reference}
        line |= columns("minus_reference", bootstrap.interval(values - areas[reference]))
        line["won"] = float((values > areas[reference]).mean()) if method != reference else np.nan
        if "occlusion" in areas:
            line |= columns("share_of_occlusion", bootstrap.ratio(values, areas["occlusion"]))
        lines.append(line)
    return pd.DataFrame(lines).sort_values("lerf_minus_morf", ascending=False, ignore_index=True)


def shift_table(measured: Measured, bootstrap: Bootstrap) -> pd.DataFrame | None:
    """Return what removal costs that knows nothing of the image: accuracy under the `random` control.

    Columns: ``fraction`` gone, ``accuracy`` (over both orders, of which one is as random as the other), ``lost``
    (paired difference from the intact images), each with its interval. None without the control, or if nothing is lost
    beyond the interval at any fraction.
    """
    if "random" not in measured.methods:
        return None
    correct = (measured.prediction[measured.methods.index("random")] == measured.labels).mean(0)  # (F,N)
    inner = np.arange(1, len(measured.fractions) - 1)
    if not len(inner):
        return None
    nearest = [inner[np.abs(measured.fractions[inner] - f).argmin()] for f in SHIFT_FRACTIONS]
    lines = [
        {"imputation": measured.imputation, "fraction": measured.fractions[f]}
        | columns("accuracy", bootstrap.interval(correct[f]))
        | columns("lost", bootstrap.interval(correct[0] - correct[f]))
        for f in dict.fromkeys([0, *nearest])
    ]
    table = pd.DataFrame(lines)
    return table if (table.lost_low > 0).any() else None


def warnings(summary: pd.DataFrame, differences: pd.DataFrame | None) -> list[str]:
    """Return what a reader must know before ranking methods by these tables."""
    found = []
    morf = summary[summary.order == "morf"].set_index("method").auc_probability
    methods = [name for name in morf.index if name not in CONTROLS]
    for control in (name for name in CONTROLS if name in morf.index and methods):
        beaten = [name for name in methods if morf[control] < morf[name]]
        if beaten:
            found.append(
                f"MoRF alone does not rank the methods here: the control `{control}` has a lower (better) area "
                f"({morf[control]:.3f}) than {', '.join(f'`{n}` ({morf[n]:.3f})' for n in beaten)}. "
                f"Holes that are foreign to the network hurt it, whatever they hid; read LeRF - MoRF."
            )
    if differences is not None:
        by_method = differences.set_index("method").lerf_minus_morf
        for control in (name for name in CONTROLS if name in by_method.index):
            beaten = [
                name for name in by_method.index if name not in CONTROLS and by_method[control] >= by_method[name]
            ]
            if beaten:
                found.append(
                    f"The control `{control}` is not beaten in LeRF - MoRF by {', '.join(f'`{n}`' for n in beaten)}."
                )
    broken = summary[summary.degenerate_maps > 0].drop_duplicates("method")
    for line in broken.itertuples():
        found.append(
            f"`{line.method}`: {line.degenerate_maps} of {line.n} maps are degenerate (constant or not a number) and "
            f"order nothing; they went by the seeded tie-break."
        )
    return found


def _difference_part(differences: pd.DataFrame) -> list[str]:
    reference = differences.reference.iloc[0]
    header = ["method", "LeRF − MoRF area", f"minus `{reference}`", "images won", "share of occlusion"]
    rows = []
    for _, line in differences.iterrows():
        same = line.method == line.reference
        rows.append(
            [
                f"`{line.method}`" + (" (control)" if line.control else ""),
                cell(line, "lerf_minus_morf", 3),
                "–" if same else cell(line, "minus_reference", 3),
                "–" if same else f"{100 * line.won:.0f} %",
                cell(line, "share_of_occlusion", 2) if "share_of_occlusion" in line else "–",
            ]
        )
    return ["### LeRF − MoRF: the larger, the better the order", markdown_table(header, rows)]


def _method_part(summary: pd.DataFrame) -> list[str]:
    header = ["method", "order", "area, probability", "area, kept", "flip, median [%]", "flip, mean [%]"]
    header += ["degenerate", "seconds"]
    rows = [
        [
            f"`{line.method}`",
            str(line.order),
            cell(line, "auc_probability", 3),
            cell(line, "auc_kept", 3),
            cell(line, "flip_percent_median", 0),
            cell(line, "flip_percent_mean", 1),
            str(line.degenerate_maps),
            f"{line.seconds:.1f}",
        ]
        for _, line in summary.iterrows()
    ]
    return ["### By method and order", markdown_table(header, rows)]


def _shift_part(shifts: pd.DataFrame) -> list[str]:
    points = shifts.copy()
    shares = [name for name in shifts.columns if name.startswith(("accuracy", "lost"))]
    points[shares] *= 100
    rows = [
        [
            f"{100 * line.fraction:.0f}",
            cell(line, "accuracy", 1),
            cell(line, "lost", 1) if line.fraction > 0 else "–",
        ]
        for _, line in points.iterrows()
    ]
    return [
        "### What removal alone costs",
        "Removal in `random` order knows nothing of the image and costs accuracy all the same: some of what it hides "
        "was needed, and images with holes are not what the network was trained on. Every curve falls for the second "
        "reason, too: judge a method against `random` at the same fraction, not against the intact image.",
        markdown_table(["removed at random [%]", "top-1 [%]", "lost [points]"], rows),
    ]


def summary_markdown(
    title: str,
    conditions: str,
    summary: pd.DataFrame,
    differences: pd.DataFrame | None,
    shifts: pd.DataFrame | None,
    left_out: list[str],
) -> str:
    """Return the page ``summary.md``: conditions, for each imputation warnings and tables, and how to read them."""

    def of(table: pd.DataFrame | None, imputation: str) -> pd.DataFrame | None:
        part = table[table.imputation == imputation] if table is not None else None
        return part if part is not None and len(part) else None

    parts = [f"# {title}", conditions]
    if left_out:
        parts.append("\n".join(f"- {note}" for note in left_out))
    for imputation in summary.imputation.unique():
        by_method, compared, shifted = (of(table, imputation) for table in (summary, differences, shifts))
        assert by_method is not None
        parts.append(f"## Removed pixels: {imputation}")
        notes = warnings(by_method, compared)
        if notes:
            parts.append("\n".join(f"- {note}" for note in notes))
        parts += _difference_part(compared) if compared is not None else []
        parts += _method_part(by_method)
        parts += _shift_part(shifted) if shifted is not None else []
    parts.append(
        "Area under the mean target probability, and under the share of images that still predict the target, over "
        "the fraction removed. MoRF removes the most relevant pixels first (a good map makes the area small and the "
        "flip early), LeRF the least relevant first (large and late). In brackets: 95 % bootstrap intervals over "
        "images. Seconds: for the maps of all images."
    )
    return "\n\n".join(parts) + "\n"
