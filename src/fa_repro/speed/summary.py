"""The page of a speed benchmark."""

import pandas as pd

from fa_repro.speed.contention import DISTURBED, words
from fa_repro.tables import markdown_table, rate


def summary_markdown(
    title: str, conditions: str, speeds: pd.DataFrame, ratios: pd.DataFrame, notes: list[str], waiting: float | None
) -> str:
    """Return ``summary.md``: conditions, the ratios with their limits and verdicts, the contenders' throughput.

    Args:
        title: of the page.
        conditions: a sentence.
        speeds: of `fa_repro.speed.rate_table`.
        ratios: of `fa_repro.speed.ratio_table`.
        notes: what a reader must know.
        waiting: the share of its time that the program waited for a core; None: not known.

    """
    disturbed = waiting is not None and waiting > DISTURBED
    rows = []
    for line in ratios.itertuples():
        limit = "–" if line.met is None else f"{line.sense} {line.limit:g}"
        verdict = "–" if line.met is None else "kept" if line.met else "NOT kept"
        if line.met is not None and disturbed:
            verdict = "nothing can be concluded"
        rows.append([str(line.comparison), limit, f"{line.ratio:.2f} [{line.low:.2f}, {line.high:.2f}]", verdict])
    rates = []
    for _, row in speeds.iterrows():
        middle, low, high = (rate(float(row[name])) for name in ("images_per_second", "low", "high"))
        rates.append([str(row.contender), f"{middle} [{low}, {high}]"])
    parts = [
        f"# {title}",
        conditions,
        "\n".join(f"- {note}" for note in [*notes, words(waiting)]),
        markdown_table(["ratio of images/s", "limit", "measured: median [range]", "verdict"], rows),
        markdown_table(["", "images/s, median [range]"], rates),
    ]
    return "\n\n".join(parts) + "\n"
