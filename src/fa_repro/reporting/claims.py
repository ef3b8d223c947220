"""The paper's claims (arXiv:2603.25798, abstract) against the runs of one group: verdict and evidence."""

from collections.abc import Iterable
from math import isnan
from typing import Any, NamedTuple

import pandas as pd

from fa_repro.reporting.collect import CONTROL, FA_CNNS, LINEAR_HEAD, PLAIN, RESNETS, UNDAMPED, Group, Run, first_of
from fa_repro.reporting.shares import over_seeds
from fa_repro.reporting.trainings import in_top1
from fa_repro.training.recipe import recipe

HOLDS, FAILS, OPEN, UNTESTED = "holds", "does not hold", "not decided", "not tested"
LEVEL_POINTS = 1.0  # C4: points of top-1 that FA-CNN may lie below the ResNet and still "perform well"; our reading
LEVEL_COST = 0.15  # C4: share by which the multiply-adds of two networks may differ that are compared; our reading

CLAIMS = {
    "C1": "Dampened skips and the GAP head keep features aligned from pixels to logits; unordered layers don't.",
    "C2": "The penultimate feature maps are identical to the Grad-CAM maps.",
    "C3": "Feature maps morph slowly, layer by layer, toward the penultimate class activations.",
    "C4": "FA-CNN performs well at image classification.",
    "C5": "Raw feature maps stand up to Grad-CAM and permutation in percent pixels removed.",
    "C6": "Limitations, and extensions toward hybrid models, are future work.",
}


class Verdict(NamedTuple):
    """``holds``, ``does not hold``, ``not decided`` or ``not tested``, and why, in a sentence with its numbers."""

    answer: str
    evidence: str


def _worst(run: Run, file: str, dtype: str) -> tuple[bool, float]:
    table = run.table(file)
    lines = table[(table.dtype == dtype) & table.holds.notna()]
    return bool((lines.holds.astype(str) == "True").all()), float(lines.max_rel_error.max())


def identity_errors(run: Run) -> tuple[bool, float, float]:
    """Return whether every class's map is its Grad-CAM map (T1), and the largest errors in float64 and float32."""
    holds, exact = _worst(run, "identity.csv", "float64")
    single_holds, single = _worst(run, "identity.csv", "float32")
    return holds and single_holds, exact, single


def _identity(run: Run) -> tuple[bool, str]:
    holds, exact, single = identity_errors(run)
    return holds, f"largest relative error {exact:.1e} in float64, {single:.1e} in float32"


def _needs(*lacking: str) -> Verdict:
    return Verdict(UNTESTED, f"needs {' and '.join(lacking)}")


def _lacking(group: Group, *names: str) -> list[str]:
    return [f"verify-gradcam/{name}" for name in names if group.get("verify-gradcam", name) is None]


def alignment(group: Group) -> Verdict:
    """C1: what holds with both layers, what is left of it with an unordered head, without skips, and undamped."""
    if lacking := _lacking(group, "fa_cnn", LINEAR_HEAD, PLAIN):
        return _needs(*lacking)
    own, unordered, skipless = (group.runs["verify-gradcam"][name] for name in ("fa_cnn", LINEAR_HEAD, PLAIN))
    identical, _ = _identity(own)
    added, error = _worst(own, "decomposition.csv", "float64")
    mixed, words = _identity(unordered)
    near, far = (float(run.table("morphing.csv").cosine_to_last.iloc[0]) for run in (own, skipless))
    evidence = (
        f"every class's map {'is' if identical else 'is not'} its Grad-CAM map, and the maps of all depths "
        f"{'add up' if added else 'do not add up'} to the logit ({error:.1e}); with a Linear head "
        f"{'they are Grad-CAM maps still' if mixed else 'no feature map is the Grad-CAM map'} ({words}); the first "
        f"block's maps have a cosine of {near:.2f} to the last ones, without skips {far:.2f}"
    )
    if run := group.get("verify-gradcam", UNDAMPED):
        plain = float(run.table("morphing.csv").cosine_to_last.iloc[0])
        evidence += f", with skips that are not dampened {plain:.2f}"
        if plain >= near:
            evidence += ": it is the skip that aligns, not its dampening"
    return Verdict(HOLDS if identical and added and not mixed and near > far else FAILS, evidence)


def identity(group: Group) -> Verdict:
    """C2: T1 for every class; the controls must fail."""
    proofs = group.runs.get("verify-gradcam", {})
    name, resnet = (first_of(names, proofs) for names in (FA_CNNS, RESNETS))
    if name is None:
        return _needs("verify-gradcam/fa_cnn")
    own = proofs[name]
    holds, words = _identity(own)
    table = own.table("identity.csv")
    references = ", ".join(sorted(table.reference.unique()))
    evidence = f"{words}; {table.target.nunique()} classes x {table.images.max()} images, against {references}"
    passed = {
        label: _identity(run)[0]
        for label, run in (
            ("ResNet", resnet and proofs[resnet]),
            ("probability instead of logit", proofs.get(own.name + CONTROL)),
        )
        if run
    }
    controls = [
        f"{label} {'holds too: the check is not sharp' if held else 'fails, as it must'}"
        for label, held in passed.items()
    ]
    answer = FAILS if not holds else OPEN if any(passed.values()) else HOLDS
    return Verdict(answer, "; ".join([evidence, *controls]))


def morphing(group: Group) -> Verdict:
    """C3: slower at every layer than any layer without skips, and nearer to the last maps with every layer.

    T2's bound alone would not do: it follows from the triangle inequality, for networks without skips too.
    """
    if lacking := _lacking(group, "fa_cnn", PLAIN):
        return _needs(*lacking)
    own, other = (group.runs["verify-gradcam"][name].table("morphing.csv") for name in ("fa_cnn", PLAIN))
    nearer = bool(own.cosine_to_last.is_monotonic_increasing and own.cosine_to_last.is_unique)
    change, least = own.relative_change.max(), own.cosine_to_previous.min()
    slower = change < other.relative_change.min() and least > other.cosine_to_previous.max()
    evidence = (
        f"a layer changes the maps by {change:.2f} of their norm at most, without skips by "
        f"{other.relative_change.min():.2f} or more; cosine to the layer before {least:.2f} or more, without skips "
        f"{other.cosine_to_previous.max():.2f} or less; cosine to the last maps "
        f"{', '.join(f'{cosine:.2f}' for cosine in own.cosine_to_last)}"
    )
    if run := group.get("verify-gradcam", UNDAMPED):
        table = run.table("morphing.csv")
        evidence += f"; undamped {table.relative_change.max():.2f} at most and {table.cosine_to_previous.min():.2f}"
    bounded = bool(own.holds.all())
    if not bounded:
        evidence += "; a layer is beyond the bound of T2"
    return Verdict(HOLDS if bounded and nearer and slower else FAILS, evidence)


def _recipe(run: Run) -> tuple[Any, ...]:
    """Return what two trainings must share to be compared: recipe and images.

    The precision is the one it was trained in: ``auto`` is bf16 on one machine and fp32 on another.
    """
    data = run.config.get("data", {})
    return recipe(run.config.get("trainer", {})) | {"precision": run.json("metrics.json")["precision"]}, [
        data.get(key) for key in ("name", "n_train", "image_size", "seed")
    ]


def _versions(runs: Iterable[Run]) -> set[str]:
    """Return the versions of the training loop that made ``runs``; the earliest ones did not tell theirs."""
    told = (run.provenance.get("inputs", {}).get("trainer") for run in runs)
    return {version for version in told if version}


def accuracy(group: Group) -> Verdict:
    """C4: top-1 beside the ResNet of the same recipe and cost, means over seeds."""
    name, resnet = (first_of(names, group.networks) for names in (FA_CNNS, RESNETS))
    if name is None or resnet is None:
        return Verdict(UNTESTED, f"needs train/fa_cnn and train/{' or train/'.join(RESNETS)}")
    runs = [group.networks[network] for network in (name, resnet)]
    recipes = [_recipe(run) for both in runs for run in both]
    if any(recipe != recipes[0] for recipe in recipes) or len(_versions(run for both in runs for run in both)) > 1:
        words = "were not all trained by one recipe on the same images (trainer and data in config.yaml)"
        return Verdict(UNTESTED, f"`{name}` and `{resnet}` {words}")
    own, other = ([run.json("metrics.json") for run in both] for both in runs)
    cost = own[0]["macs"] / other[0]["macs"]
    if abs(cost - 1) > LEVEL_COST:
        return Verdict(UNTESTED, f"`{name}` costs {cost:.2f} times the multiply-adds of `{resnet}`")
    a, b = (100 * group.top1(network) for network in (name, resnet))
    if a == b == 100:
        return Verdict(OPEN, f"neither `{name}` nor `{resnet}` errs on any test image, so the task tells nothing apart")
    ahead = f"{a - b:+.2f} points{in_top1(group, name, resnet).between}"
    return Verdict(
        HOLDS if a - b >= -LEVEL_POINTS else FAILS,
        f"{a:.2f} % of `{name}` against {b:.2f} % of `{resnet}` by the same recipe, {ahead} (held if not below "
        f"-{LEVEL_POINTS:.0f}), at {cost:.2f} times its cost; seeds: {len(own)} and {len(other)}",
    )


def removal(group: Group) -> Verdict:
    """C5: LeRF - MoRF of the feature map against permutation and controls, and against the ResNet's Grad-CAM.

    Judged of networks that were trained with removal alone, on every seed of each.
    """
    seeds = group.by_network("benchmark-removal")
    own, resnet = (first_of(names, seeds) for names in (FA_CNNS, RESNETS))
    if own is None or resnet is None:
        needed = " or ".join(f"benchmark-removal/{name}" for name in RESNETS)
        return Verdict(UNTESTED, f"needs benchmark-removal/fa_cnn and {needed}")
    others = ("random", "center", "permutation", "occlusion")
    shares = []
    for network, method, methods in (
        (own, "feature_map", {"feature_map", *others}),
        (resnet, "grad_cam", {"grad_cam", "occlusion"}),
    ):
        for run in seeds[network]:
            if lacking := sorted(methods - set(run.differences.index)):
                return Verdict(UNTESTED, f"benchmark-removal/{run.name} needs {', '.join(lacking)}, and both orders")
            if isnan(over_seeds(run.differences.loc[[method]]).mean):
                return Verdict(
                    UNTESTED, f"benchmark-removal/{run.name}: occlusion's area is not above zero, no share of it"
                )
        shares.append(over_seeds(pd.DataFrame([run.differences.loc[method] for run in seeds[network]])))
    mine, yardstick = shares
    tables = [run.differences for run in seeds[own]]
    rivals = [method for method in others if method != "occlusion"]  # which is our yardstick, not the claim's
    # Beyond the interval, whatever the seed.
    behind = any(all(table.loc[rival].minus_reference_low > 0 for table in tables) for rival in rivals)
    behind |= mine.high < yardstick.low
    areas = pd.DataFrame([table.lerf_minus_morf for table in tables])
    ahead = all((areas.feature_map >= areas[rival]).all() for rival in rivals) and mine.mean >= yardstick.mean
    answer = FAILS if behind else HOLDS if ahead else OPEN
    counted = f", seeds: {mine.seeds} and {yardstick.seeds}" if max(mine.seeds, yardstick.seeds) > 1 else ""
    area = areas.mean()
    return Verdict(
        answer if group.saw_removal else OPEN,  # holes are foreign to networks that did not, and rank nothing
        f"LeRF - MoRF area of the feature map of `{own}` {area['feature_map']:.3f}; "
        f"{', '.join(f'{method} {area[method]:.3f}' for method in others)} on the same network; share "
        f"of occlusion's {mine}, Grad-CAM on `{resnet}` {yardstick}; {int(tables[0].n.iloc[0])} "
        f"images{counted} (held if ahead of all but occlusion, not decided if behind within the intervals)"
        f"{'' if group.saw_removal else '; trained without removal, so that holes are foreign to both networks'}",
    )


TESTS = {"C1": alignment, "C2": identity, "C3": morphing, "C4": accuracy, "C5": removal}


def judge(group: Group) -> dict[str, Verdict]:
    """Return the verdict on every claim from the runs of one group."""
    verdicts = {claim: test(group) for claim, test in TESTS.items()}
    return verdicts | {"C6": Verdict(UNTESTED, "a statement about future work")}
