"""The page of a removal benchmark, ``summary.md``."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from fa_repro.attribution import reference_of
from fa_repro.removal.measured import Measured
from fa_repro.removal.tables import of_imputation
from fa_repro.removal.warnings import warnings
from fa_repro.tables import cell, markdown_table

FEW_SEEDS = 5  # below it, resampled seeds say little of the spread of all


def precision_notes(found: Sequence[Sequence[Measured]]) -> list[str]:
    """Return what reading in bf16 did to the target's probability, a line for each imputation; none in fp32.

    Args:
        found: by training and imputation; of several trainings the line is of the one that is off most.

    """
    worst = [
        max(
            (one for one in of_trainings if one.error),
            key=lambda one: one.error.largest if one.error else 0,
            default=None,
        )
        for of_trainings in zip(*found, strict=True)
    ]
    return [
        f"Read in bf16: with removed pixels {one.imputation}, the target's probability is off from fp32's by "
        f"{one.error.largest:.1e} at most and {one.error.mean:.1e} on average, over {one.error.n} readings of one "
        f"batch (`{one.methods[0]}`, every order and fraction)."
        for one in worst
        if one is not None and one.error is not None
    ]


def unread_notes(found: Sequence[Sequence[Measured]]) -> list[str]:
    """Return a line for each imputation under which readings are no finite numbers, by training and imputation."""
    notes = []
    for of_trainings in zip(*found, strict=True):
        broken = sum(int((~np.isfinite(one.probability)).any((0, 1, 2)).sum()) for one in of_trainings)
        images = sum(len(one.labels) for one in of_trainings)
        if broken:
            notes.append(
                f"With removed pixels {of_trainings[0].imputation}, the network gives no finite probability for some "
                f"reading of {broken} of {images} images: what they enter is not known (–)."
            )
    return notes


def _difference_part(differences: pd.DataFrame) -> list[str]:
    reference = differences.reference.iloc[0]
    header = ["method", "LeRF − MoRF area", f"minus `{reference}`", "share of images won", "share of occlusion"]
    rows = []
    for _, line in differences.iterrows():
        same = line.method == line.reference
        rows.append(
            [
                f"`{line.method}`" + (" (control)" if line.control else ""),
                cell(line, "lerf_minus_morf", 3),
                "–" if same else cell(line, "minus_reference", 3),
                "–" if same else cell(line, "won", 2),
                cell(line, "share_of_occlusion", 2) if "share_of_occlusion" in line else "–",
            ]
        )
    return ["### LeRF − MoRF: the larger, the better the order", markdown_table(header, rows)]


def _method_part(summary: pd.DataFrame) -> list[str]:
    reference = reference_of(list(dict.fromkeys(summary.method)))
    header = ["method", "order", "area, probability", f"minus `{reference}`", "share of images won", "area, kept"]
    header += ["flip, median [%]", "flip, mean [%]", "degenerate", "seconds"]
    rows = [
        [
            f"`{line.method}`",
            str(line.order),
            cell(line, "auc_probability", 3),
            "–" if line.method == reference else cell(line, "auc_minus_reference", 3),
            "–" if line.method == reference else cell(line, "auc_won", 2),
            cell(line, "auc_kept", 3),
            cell(line, "flip_percent_median", 0),
            cell(line, "flip_percent_mean", 1),
            str(line.degenerate_maps),
            f"{line.seconds:.1f}",
        ]
        for _, line in summary.iterrows()
    ]
    return ["### By method and order", markdown_table(header, rows)]


def _seed_part(by_seed: pd.DataFrame) -> list[str]:
    """Return the figures of each seed, of `difference_table` or, without both orders, of `summary_table`."""
    both = "lerf_minus_morf" in by_seed
    figure, keys = ("lerf_minus_morf", ["method"]) if both else ("auc_probability", ["method", "order"])
    title = "LeRF − MoRF area" if both else "Area under the target probability"
    seeds = list(by_seed.seed.unique())
    rows = []
    for names, part in by_seed.groupby(keys, sort=False):
        values = part.set_index("seed")[figure]
        cells = [f"{values[seed]:.3f}" for seed in seeds] + [f"{values.mean():.3f}", f"{values.std(ddof=1):.3f}"]
        method, *order = map(str, names)
        rows.append([f"`{method}`", *order, *cells])
    note = f"{title} of each training alone; standard deviation of a sample of {len(seeds)}."
    if len(seeds) < FEW_SEEDS:
        # The variance of a mean over T resampled values is short of the factor (T - 1) / T.
        share = 1 - ((len(seeds) - 1) / len(seeds)) ** 0.5
        note += f" So few seeds make the seeds' part of every interval about {100 * share:.0f} % too narrow."
    header = [*keys, *(f"seed {seed}" for seed in seeds), "mean", "sd over seeds"]
    return ["### By seed", note, markdown_table(header, rows)]


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
    words = (
        "Removal in `random` order knows nothing of the image and costs accuracy all the same: some of what it hides "
        "was needed, and images with holes are not what the network was trained on. Every curve falls for the second "
        "reason, too: judge a method against `random` at the same fraction, not against the intact image."
    )
    if not (shifts.lost_low > 0).any():
        words = (
            "Removal in `random` order costs this network no accuracy beyond the interval, at any of these fractions."
        )
    return [
        "### What removal alone costs",
        words,
        markdown_table(["removed at random [%]", "top-1 [%]", "lost [points]"], rows),
    ]


def summary_markdown(
    title: str,
    conditions: str,
    summary: pd.DataFrame,
    differences: pd.DataFrame | None,
    shifts: pd.DataFrame | None,
    notes: list[str],
    by_seed: dict[str, pd.DataFrame] | None = None,
) -> str:
    """Return the page ``summary.md``: conditions, for each imputation warnings and tables, and how to read them."""
    of_each = None if not by_seed else by_seed.get("differences", by_seed["summary"])
    parts = [f"# {title}", conditions]
    if notes:
        parts.append("\n".join(f"- {note}" for note in notes))
    for imputation in summary.imputation.unique():
        tables = (summary, differences, shifts, of_each)
        by_method, compared, shifted, apart = (of_imputation(table, imputation) for table in tables)
        assert by_method is not None
        parts.append(f"## Removed pixels: {imputation}")
        if warned := warnings(by_method, compared):
            parts.append("\n".join(f"- {words}" for words in warned))
        parts += _difference_part(compared) if compared is not None else []
        parts += _seed_part(apart) if apart is not None else []
        parts += _method_part(by_method)
        parts += _shift_part(shifted) if shifted is not None else []
    parts.append(
        "Area under the mean target probability, and under the share of images that still predict the target, over "
        "the fraction removed. MoRF removes the most relevant pixels first (a good map makes the area small and the "
        "flip early), LeRF the least relevant first (large and late). In brackets: 95 % bootstrap intervals over "
        f"images{' and seeds' if by_seed else ''}. Seconds: for the maps of all images."
    )
    return "\n\n".join(parts) + "\n"
