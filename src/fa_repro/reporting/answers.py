"""The questions that users ask, answered in a line each: is it true, what does it cost, are the maps any good?"""

from collections.abc import Callable, Sequence

from fa_repro.reporting.claims import identity_errors
from fa_repro.reporting.collect import CONTROL, FA_CNNS, RESNETS, Group, Run, has_class_maps
from fa_repro.reporting.front import front, own_map, share_of


def answers(found: Sequence[Group]) -> list[str]:
    """Return the answers that the groups' runs give; of what was not run, none.

    Args:
        found: the groups.

    Returns:
        Lines of a Markdown list: a question and its answer with numbers, under all but the first a line for each group.

    """
    given = [f"- **Is it true?** {true}"] if (true := _true(found)) else []
    for question, lines in (
        ("**What does it cost?** Points of top-1 beside the ResNet of the same group:", _cost(found)),
        ("**Are the maps any good?** LeRF − MoRF area as a share of occlusion's on the same network:", _good(found)),
        (
            "**Do they lie where the object is?** Share of a class's map in that class's cell of a mosaic of images; a "
            "uniform map has its cell's area:",
            _told(found, "benchmark-localization", _in_its_cell),
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
    errors = [
        identity_errors(run)
        for group in found
        for name, run in group.runs.get("verify-gradcam", {}).items()
        if has_class_maps(name) and not name.endswith(CONTROL)
    ]
    if not errors:
        return ""
    doubles, singles = [double for _, double, _ in errors], [single for _, _, single in errors]
    held = sum(holds for holds, _, _ in errors)
    return (
        f"In {held} of {len(errors)} trained FA-CNNs every class's feature map is its Grad-CAM map: the largest "
        f"relative error is {max(doubles):.1e} in float64 and {max(singles):.1e} in float32."
    )


def _cost(found: Sequence[Group]) -> list[str]:
    lines = []
    for group in found:
        top1 = {name: 100 * group.top1(name) for name in group.networks}
        resnet = next((name for name in RESNETS if name in top1), None)
        own = [name for name in FA_CNNS if name in top1]
        if resnet and own:
            less = ", ".join(f"`{name}` {top1[name] - top1[resnet]:+.1f}" for name in own)
            lines.append(f"{group.name}: {less}; `{resnet}` has {top1[resnet]:.1f} %")
    return lines


def _good(found: Sequence[Group]) -> list[str]:
    lines = []
    for group in found:
        shares = [
            f"{line['method'].replace('_', ' ')} of `{line['network']}` {share_of(line)}"
            for line in front([group]).to_dict("records")
        ]
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
        words = [said for name, run in alone.items() if (said := tell(run, own_map(name)))]
        if words:
            lines.append(f"{group.name}: {', '.join(words)}")
    return lines


def _in_its_cell(run: Run, method: str) -> str:
    table = run.table("localization.csv")
    mosaics = table[table.measure == "grid"].set_index("method") if len(table) else table
    if method not in mosaics.index:
        return ""
    occluded = f", occlusion {mosaics.value['occlusion']:.2f}" if "occlusion" in mosaics.index else ""
    peaks = table[table.measure == "grid_peak"].set_index("method").value
    there = f"; the maximum is there in {100 * peaks[method]:.0f} %" if method in peaks.index else ""
    words = f"{mosaics.value[method]:.2f} ({mosaics.chance[method]:.2f} of a uniform map{occluded}{there})"
    return f"{method.replace('_', ' ')} of `{run.name}` {words}"


def _when_drawn_anew(run: Run, method: str) -> str:
    table = run.table("sanity.csv")
    last = table[table.depth == table.depth.max()].set_index("method") if len(table) else table
    if method not in last.index:
        return ""
    return f"{method.replace('_', ' ')} of `{run.name}` {last.correlation[method]:.2f}"
