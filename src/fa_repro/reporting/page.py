"""REPORT.md: claim, evidence, verdict, every figure linked; and the results part of a README."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from fa_repro.config import METHODS
from fa_repro.reporting.claims import CLAIMS, judge
from fa_repro.reporting.collect import MODELS, Group, Run
from fa_repro.tables import markdown_table

BEGIN, END = "<!-- results: written by fa-repro report -->", "<!-- results: end -->"


def accuracy_table(group: Group) -> str:
    """Return top-1 and cost of every trained model of a group."""
    rows = []
    known = [name for name in MODELS if group.get("train", name)]
    others = [name for name in group.runs.get("train", {}) if name not in known]
    for name in known + others:
        run = group.runs["train"][name]
        m = run.json("metrics.json")
        rows.append(
            [
                f"`{name}`",
                f"{100 * m['top1']:.1f}",
                f"{m['parameters'] / 1e6:.2f} M",
                f"{m['macs'] / 1e6:.1f} M",
                str(m["epochs"]),
                f"{m['images_per_second']:.0f}",
                f"{m['seconds'] / 60:.1f}",
            ]
        )
    header = ["model", "test top-1 [%]", "parameters", "multiply–adds", "epochs", "training images/s", "minutes"]
    return markdown_table(header, rows)


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
    header = [
        "run",
        "T1: map = Grad-CAM, error",
        "T2: within bound, largest change",
        "smallest cosine",
        "T3: parts add up",
    ]
    return markdown_table(header, rows)


def removal_table(group: Group) -> str:
    """Return the LeRF - MoRF area of every method on every network of a group, also as a share of occlusion's."""
    runs = group.runs.get("benchmark-removal", {})
    methods: list[str] = []
    tables = {}
    for name in sorted(runs, key=lambda n: (n != "fa_cnn", n)):
        table = runs[name].differences
        if len(table):
            tables[name] = table
            methods += [m for m in table.index if m not in methods]
    order = ["feature_map", "depth_map", "grad_cam", "permutation", "occlusion", "random", "center"]
    methods = [m for m in order if m in methods] + [m for m in methods if m not in order]
    rows = []
    for name, table in tables.items():
        cells = []
        for method in methods:
            if method not in table.index:
                cells.append("–")
                continue
            line = table.loc[method]
            half = (line.lerf_minus_morf_high - line.lerf_minus_morf_low) / 2
            share = f" ({line.share_of_occlusion:.2f})" if "share_of_occlusion" in line else ""
            cells.append(f"{line.lerf_minus_morf:.3f} ± {half:.3f}{share}")
        rows.append([f"`{name}`", *cells])
    return markdown_table(["network", *(f"`{m}`" for m in methods)], rows)


def localization_table(group: Group) -> str:
    """Return the value of every method on every network of a group, a line for each measure, beside chance."""
    rows: list[tuple[str, str, float, dict[str, str]]] = []
    methods: list[str] = []
    for name, run in group.runs.get("benchmark-localization", {}).items():
        table = run.table("localization.csv")
        for measure, lines in table.groupby("measure", sort=False) if len(table) else ():
            cells = {
                str(line.method): f"{line.value:.3f} ± {(line.high - line.low) / 2:.3f}" for _, line in lines.iterrows()
            }
            methods += [method for method in cells if method not in methods]
            rows.append((name, str(measure), float(lines.chance.iloc[0]), cells))
    if not rows:
        return "Not run."
    rows.sort(key=lambda row: (row[0] != "fa_cnn", row[0]))
    methods.sort(key=lambda method: METHODS.index(method) if method in METHODS else len(METHODS))
    return markdown_table(
        ["network", "measure", "chance", *(f"`{method}`" for method in methods)],
        [
            [f"`{name}`", measure.replace("_", " "), f"{chance:.3f}", *(cells.get(method, "–") for method in methods)]
            for name, measure, chance, cells in rows
        ],
    )


def _localization(group: Group) -> list[str]:
    runs = group.runs.get("benchmark-localization", {})
    conditions = [f"- `{name}`: {run.json('metrics.json')['conditions']}" for name, run in runs.items()]
    heading = (
        "**Localization**: share of maps whose maximum lies inside the object (pointing game), share of a map's "
        "positive part inside the object (energy) and, on mosaics of images, inside its own class's cell (grid), ± "
        "half of the 95 % interval. Larger is better; chance is what a uniform map scores."
    )
    return [heading, localization_table(group), *(["\n".join(conditions)] if conditions else [])]


def _conditions(group: Group) -> str:
    trained = list(group.runs.get("train", {}).values())
    if not trained:
        return "No training run."
    first = trained[0]
    metrics = first.json("metrics.json")
    packages = first.provenance["packages"]
    commits = sorted({run.provenance["git"]["commit"][:10] for run in trained if run.provenance.get("git")})
    return (
        f"{metrics['n_train']:,} training and {metrics['n_test']:,} test images, {metrics['precision']}, seed "
        f"{first.provenance['seed']}, on {first.provenance['device']}, torch {packages['torch']}"
        f"{', commit ' + ', '.join(commits) if commits else ''}. The last epoch is reported. One seed: a point more "
        f"or less is within the spread. Throughput and minutes are the run's own, on a machine it may have shared."
    )


def _figures(group: Group, results: Path) -> Iterator[str]:
    for command in ("train", "verify-gradcam", "benchmark-removal", "benchmark-localization"):
        for name, run in group.runs.get(command, {}).items():
            links = [f"[{png.stem}]({png.relative_to(results).as_posix()})" for png in sorted(run.path.glob("*.png"))]
            pages = [f"[{md.stem}]({md.relative_to(results).as_posix()})" for md in sorted(run.path.glob("*.md"))]
            yield f"- `{command}/{name}`: {', '.join(links + pages)}"


def _section(group: Group) -> list[str]:
    return [
        _conditions(group),
        "**Accuracy**",
        accuracy_table(group),
        "**Proofs in numbers** (a *no* is due for the Linear head, the ResNet and the probability)",
        proof_table(group),
        "**Percent pixels removed**: LeRF − MoRF area under the target probability, ± half of its 95 % interval, and "
        "in brackets the share of occlusion's on the same network. Larger is better; networks are comparable "
        "through the shares alone.",
        removal_table(group),
        *_localization(group),
    ]


def search_section(name: str, table: pd.DataFrame) -> list[str]:
    """Return what a search tried, the best on validation images first."""
    rows = [
        [
            f"`{line['name']}`",
            f"{100 * line['val_top1']:.1f}",
            f"{line['parameters'] / 1e6:.2f} M",
            f"{line['macs'] / 1e6:.1f} M",
            f"{line['images_per_second']:.0f}",
        ]
        for line in table.sort_values("val_top1", ascending=False).to_dict("records")
    ]
    header = ["variant", "validation top-1 [%]", "parameters", "multiply–adds", "training images/s"]
    return [
        f"## Search: {name}",
        f"{len(table)} variants, judged on training images held out; all keys: [{name}.csv](search/{name}.csv).",
        f"![validation top-1 against multiply–adds](search/{name}.png)",
        markdown_table(header, rows),
    ]


def report(found: list[Group], results: Path, searches: Mapping[str, pd.DataFrame] | None = None) -> str:
    """Return REPORT.md for the groups and the searches of ``results``."""
    verdicts = {group.name: judge(group) for group in found}
    parts = ["# Report", "Written by `fa-repro report` from the tables beside it; made again by `make reproduce-all`."]
    parts += ["## The claims of arXiv:2603.25798"]
    if not found:
        parts.append("No run was found: every claim is **not tested**. `make reproduce-all` makes the runs.")
    for claim, words in CLAIMS.items():
        lines = [f"**{claim}.** {words}", ""]
        for name, judged in verdicts.items():
            lines.append(f"- {name}: **{judged[claim].answer}**. {judged[claim].evidence}.")
        parts.append("\n".join(lines))
    for group in found:
        parts += [f"## {group.name}", *_section(group), "**Figures and tables**", "\n".join(_figures(group, results))]
        missing = list(group.missing())
        if missing:
            parts.append("**Missing runs**: " + ", ".join(f"`{name}`" for name in missing) + ".")
    for name, table in (searches or {}).items():
        parts += search_section(name, table)
    return "\n\n".join(parts) + "\n"


def readme_part(found: list[Group]) -> str:
    """Return the results part of a README: verdicts and tables of the first group, real data if any."""
    if not found:
        return "No results yet."
    group = found[0]
    judged = judge(group)
    rows = [[claim, words, judged[claim].answer] for claim, words in CLAIMS.items() if claim in judged]
    return "\n\n".join([f"On {group.name}:", markdown_table(["", "claim", "verdict"], rows), *_section(group)])


def replace_part(text: str, part: str) -> str | None:
    """Return ``text`` with ``part`` between the two marks; None if they are not there."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return f"{before}{begin}\n\n{part}\n\n{end}{after}" if begin and end else None


__all__ = ["BEGIN", "END", "Run", "readme_part", "replace_part", "report"]
