"""REPORT.md: claim, evidence, verdict, every figure linked; and the results part of a README."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fa_repro.localization.summary import control_notes
from fa_repro.reporting.answers import answers
from fa_repro.reporting.claims import CLAIMS, UNTESTED, Verdict, judge
from fa_repro.reporting.collect import GPU_SEEDS, Group, Run, not_run_on_a_gpu, short_device
from fa_repro.reporting.shares import BEHIND
from fa_repro.reporting.tables import (
    UNFAMILIAR,
    accuracy_table,
    gap_table,
    localization_table,
    order_table,
    proof_table,
    removal_table,
    sanity_table,
    speed_table,
)
from fa_repro.tables import markdown_table

COMMANDS = (
    "train", "verify-gradcam", "benchmark-removal", "benchmark-localization", "benchmark-sanity", "benchmark-speed",
)  # fmt: skip
HOW = (
    "The last epoch is reported: mean ± standard deviation over seeds; one seed tells nothing of its spread. "
    "Throughput and minutes are the runs' own, from the least to the most, on a machine they may have shared."
)
GAPS = (
    "Differences between networks that were trained with several seeds each, with Welch's 95 % interval and its p for "
    "no difference; positive where FA-CNN is ahead:"
)
AGAIN = (
    "Trainings that were made more than once, by one config and seed, on what machine there was. The row is the mean ± "
    "standard deviation of its trainings (their number), and says how far off another result may be. Of so few "
    "trainings it is known badly; the last column says how often chance alone puts one more beyond two deviations:"
)
WRITTEN = (
    "Written by `fa-repro report` from the tables beside it. `make reproduce-all PROFILE=…` makes a profile's "
    "trainings and checks again, and its benchmarks of removal, localization and sanity. Made apart are speeds "
    "(`fa-repro benchmark-speed`), the table of other libraries (`make peers`), second runs of trainings (`again/`), "
    "seeds beyond a profile's, and removal benchmarks with another number of images or precision (`NAME-1000`, "
    "`NAME-bf16`). Every run's `provenance.json` holds its own command."
)
FRONT = (
    "Networks trained with pixels removed: top-1 on intact test images, and the LeRF − MoRF area of the map that a "
    "network explains itself by (FA-CNN's feature map, Grad-CAM of the others), as a share of occlusion's on the same "
    "network."
)
VERDICTS = (
    "C2, C4 and C5 are judged on each group's main FA-CNN, `fa_cnn_fine` where it was trained, else `fa_cnn`; C1 and "
    "C3 on `fa_cnn`, whose ablations they need. C5 is decided for networks that saw pixels removed in training alone. "
    "–: not tested with these networks; shapes is the embedded data set. The numbers behind each verdict stand in the "
    "report."
)
PARTS = ("answers", "results")  # of a README, each between its `marks`


def _stated(runs: Mapping[str, Run]) -> list[str]:
    """Return one part with the conditions of every run; of no run, none."""
    conditions = [f"- `{name}`: {run.json('metrics.json')['conditions']}" for name, run in runs.items()]
    return ["\n".join(conditions)] if conditions else []


def _localization(group: Group) -> list[str]:
    heading = (
        "**Localization**: share of maps whose maximum lies inside the object (pointing game), share of a map's "
        "positive part inside the object (energy) and, on mosaics of images, inside its own class's cell (grid), ± "
        "half of the 95 % interval. Larger is better; chance is what a uniform map scores."
    )
    runs = group.runs.get("benchmark-localization", {})
    # A reader must know before ranking: what a control that knows nothing of the image scores as well is no merit.
    warned = [
        f"- `{name}`: {note}" for name, run in runs.items() for note in control_notes(run.table("localization.csv"))
    ]
    return [heading, *(["\n".join(warned)] if warned else []), localization_table(group), *_stated(runs)]


def _conditions(group: Group) -> str:
    trained = list(group.runs.get("train", {}).values())
    if not trained:
        return "No training run."
    metrics = [run.json("metrics.json") for run in trained]
    commits = sorted({run.provenance["git"]["commit"][:10] for run in trained if run.provenance.get("git")})
    removed = f" {group.removal_words}" if group.saw_removal else ""
    train, test = (_all(f"{m[f'n_{split}']:,}" for m in metrics) for split in ("train", "test"))
    packages = _all(run.provenance["packages"]["torch"] for run in trained)
    return (
        f"{train} training and {test} test images, {_all(m['precision'] for m in metrics)}, on "
        f"{_all(short_device(run.provenance['device']) for run in trained)}, torch {packages}"
        f"{', commit ' + ', '.join(commits) if commits else ''}.{removed}"
    )


def _all(words: Iterable[str]) -> str:
    """Return the different words, in their order."""
    return " or ".join(dict.fromkeys(words))


def _figures(group: Group, results: Path) -> Iterator[str]:
    for command in COMMANDS:
        for name, run in group.runs.get(command, {}).items():
            links = [f"[{png.stem}]({png.relative_to(results).as_posix()})" for png in sorted(run.path.glob("*.png"))]
            pages = [f"[{md.stem}]({md.relative_to(results).as_posix()})" for md in sorted(run.path.glob("*.md"))]
            yield f"- `{command}/{name}`: {', '.join(links + pages)}"


def _gaps(found: Sequence[Group]) -> list[str]:
    table = gap_table(found)
    return [GAPS, table] if table else []


def _removal(found: Sequence[Group], variants: bool) -> list[str]:
    return [
        "**Percent pixels removed**: LeRF − MoRF area under the target probability, as a share of occlusion's on the "
        "same network, with its 95 % interval; of several seeds the mean ± standard deviation, and from where to where "
        "their intervals reach. Larger is better; networks are comparable through these shares alone. "
        f"{BEHIND.strip()}: not ahead of every control (`random`, `center`) beyond the interval of the paired "
        f"difference, so no better than a map that knows nothing of the image. {UNFAMILIAR.strip()}: trained without "
        "removal. Holes are foreign to such a network, a single hidden patch says little, and shares of occlusion rank "
        "nothing.",
        removal_table(found, variants),
    ]


def _orders(group: Group) -> list[str]:
    """Return the areas of each network alone, each with its conditions and what a reader must know before ranking."""
    parts = []
    for name, run in group.runs.get("benchmark-removal", {}).items():
        told = run.json("metrics.json")
        warned = [f"- {kind}: {words}" for kind, warnings in told["warnings"].items() for words in warnings]
        parts += [f"`{name}`: {told['conditions']}", *(["\n".join(warned)] if warned else []), order_table(run)]
    return parts


def _section(group: Group) -> list[str]:
    return [
        f"{_conditions(group)} {HOW}",
        "**Accuracy**",
        accuracy_table([group]),
        *_gaps([group]),
        "**Proofs in numbers** (a *no* is due for the Linear head, a ResNet and the probability)",
        proof_table(group),
        *_removal([group], variants=True),
        *_orders(group),
        *_localization(group),
        "**Sanity**: rank correlation of the maps with those of the same network with all its weights drawn anew, ± "
        "half of the 95 % interval. Near 1, a method shows the image and not what was learned.",
        sanity_table(group),
        "**Speed**: ratios of throughputs, contenders in turns in one run.",
        speed_table(group),
    ]


def search_section(name: str, table: pd.DataFrame) -> list[str]:
    """Return what a search tried, the best on validation images first; networks that saw removal stand apart."""
    ordered = table.sort_values("val_top1", ascending=False)
    costs = ["validation top-1 [%]", "parameters", "multiply–adds", "precision", "device", "training images/s"]

    def rows(lines: pd.DataFrame, more: Callable[[dict[Hashable, Any]], list[str]]) -> list[list[str]]:
        return [
            [
                f"`{line['name']}`",
                f"{100 * line['val_top1']:.1f}",
                f"{line['parameters'] / 1e6:.2f} M",
                f"{line['macs'] / 1e6:.1f} M",
                line["precision"],
                short_device(line["device"]),
                f"{line['images_per_second']:.0f}",
                *more(line),
            ]
            for line in lines.to_dict("records")
        ]

    def maps(line: dict[Hashable, Any]) -> list[str]:
        share = line["share_of_occlusion"]
        return [f"{line['locality']:g}", "–" if pd.isna(share) else f"{share:.2f}"]

    parts = [
        f"## Search: {name}",
        f"{len(table)} variants, judged on training images held out; all keys: [{name}.csv](search/{name}.csv).",
        f"![validation top-1 against multiply–adds and parameters](search/{name}.png)",
        markdown_table(["variant", *costs], rows(ordered[ordered.removal == 0], lambda line: [])),
    ]
    if len(familiar := ordered[ordered.removal > 0]):
        header = ["trained with removal", *costs, "loss on the maps", "own map, share of occlusion"]
        parts.append(markdown_table(header, rows(familiar, maps)))
    return parts


def report(
    found: list[Group],
    results: Path,
    searches: Mapping[str, pd.DataFrame] | None = None,
    front: pd.DataFrame | None = None,
    twice: str = "",
) -> str:
    """Return REPORT.md for the groups, the searches, the front and the trainings that ran ``twice`` of ``results``."""
    verdicts = {group.name: judge(group) for group in found}
    parts = ["# Report", WRITTEN, "## The claims of arXiv:2603.25798"]
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
    if twice:
        parts += ["## Run again", AGAIN, twice]
    if words := _not_run_on_a_gpu(found):
        parts += ["## On a GPU", words]
    if front is not None and len(front):
        parts += ["## Accuracy and faithfulness", FRONT, "![share of occlusion's area against top-1](front.png)"]
        parts.append("Its numbers: [front.csv](front.csv).")
    for name, table in (searches or {}).items():
        parts += search_section(name, table)
    return "\n\n".join(parts) + "\n"


def _not_run_on_a_gpu(found: list[Group]) -> str:
    lacking = ", ".join(f"`{words}`" for words in not_run_on_a_gpu(found))
    return f"Not run with {GPU_SEEDS} seeds, as they want a GPU: {lacking}." if lacking else ""


def _decided(verdicts: Mapping[str, Verdict]) -> bool:
    return any(verdict.answer != UNTESTED for verdict in verdicts.values())


def _verdict_table(judged: Mapping[str, Mapping[str, Verdict]]) -> str:
    rows = [
        [
            claim,
            words,
            *("–" if verdicts[claim].answer == UNTESTED else verdicts[claim].answer for verdicts in judged.values()),
        ]
        for claim, words in CLAIMS.items()
    ]
    return markdown_table(["", "claim", *judged], rows)


def readme_parts(found: list[Group], picture: str | None = None, twice: str = "") -> dict[str, str]:
    """Return the `PARTS` of a README: answers; verdicts, accuracy and removal; on real data, or on the embedded set.

    Args:
        found: the groups.
        picture: where the figure of the front lies, as seen from the README; None: there is none.
        twice: the table of the trainings that were run again; empty: there is none.

    """
    real = [group for group in found if group.name != "shapes"] or found
    if not real:
        return dict.fromkeys(PARTS, "No results yet.")
    parts = [
        "How they were trained:",
        "\n".join(f"- **{group.name}**: {_conditions(group)}" for group in real),
        HOW,
        accuracy_table(real),
        *_gaps(real),
        *([AGAIN, twice] if twice else []),
    ]
    if real[0].name != "shapes" and (words := _not_run_on_a_gpu(found)):
        parts.append(words)
    if judged := {group.name: verdicts for group in found if _decided(verdicts := judge(group))}:
        parts += ["### The claims", VERDICTS, _verdict_table(judged)]
    if any(group.runs.get("benchmark-removal") for group in real):
        parts += _removal(real, variants=False)
    if picture:
        parts += ["### Accuracy and faithfulness", FRONT, f"![share of occlusion's area against top-1]({picture})"]
    return {"answers": "\n".join(answers(real)), "results": "\n\n".join(parts)}


def marks(name: str) -> tuple[str, str]:
    """Return what stands before and behind one of a README's `PARTS`."""
    return f"<!-- {name}: written by fa-repro report -->", f"<!-- {name}: end -->"


def replace_part(text: str, name: str, part: str) -> str | None:
    """Return ``text`` with ``part`` between the `marks` of that name; None if they are not there."""
    first, last = marks(name)
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    return f"{before}{begin}\n\n{part}\n\n{end}{after}" if begin and end else None
