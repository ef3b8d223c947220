"""The paper's claims (arXiv:2603.25798, abstract) against the runs of one group: verdict and evidence."""

from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

from fa_repro.reporting.collect import CONTROL, RESNETS, Group, Run

HOLDS, FAILS, UNTESTED = "holds", "does not hold", "not tested"
LEVEL_POINTS = 1.0  # C4: points of top-1 that FA-CNN may lie below the ResNet and still "perform well"; our reading

CLAIMS = {
    "C1": "Dampened skips and the GAP head keep features aligned from pixels to logits; unordered layers don't.",
    "C2": "The penultimate feature maps are identical to the Grad-CAM maps.",
    "C3": "Feature maps morph slowly, layer by layer, toward the penultimate class activations.",
    "C4": "FA-CNN performs well at image classification.",
    "C5": "Raw feature maps stand up to Grad-CAM and permutation in percent pixels removed.",
    "C6": "Limitations, and extensions toward hybrid models, are future work.",
}


class Verdict(NamedTuple):
    """``holds``, ``does not hold`` or ``not tested``, and why, in a sentence with its numbers."""

    answer: str
    evidence: str


def _worst(run: Run, file: str, dtype: str) -> tuple[bool, float]:
    table = run.table(file)
    lines = table[(table.dtype == dtype) & table.holds.notna()]
    return bool((lines.holds.astype(str) == "True").all()), float(lines.max_rel_error.max())


def _identity(run: Run) -> tuple[bool, str]:
    holds, exact = _worst(run, "identity.csv", "float64")
    single_holds, single = _worst(run, "identity.csv", "float32")
    return holds and single_holds, f"largest relative error {exact:.1e} in float64, {single:.1e} in float32"


def alignment(group: Group) -> Verdict:
    """C1: the identity and the decomposition with both layers, and what is left when the head is unordered."""
    own, ablated = group.get("verify-gradcam", "fa_cnn"), group.get("verify-gradcam", "fa_cnn_linear_head")
    if own is None or ablated is None:
        return Verdict(UNTESTED, "needs verify-gradcam/fa_cnn and verify-gradcam/fa_cnn_linear_head")
    holds, _ = _identity(own)
    added, error = _worst(own, "decomposition.csv", "float64")
    unordered, words = _identity(ablated)
    return Verdict(
        HOLDS if holds and added and not unordered else FAILS,
        f"every logit is the sum of its class's maps over all depths ({error:.1e}); with a Linear head no feature map "
        f"is the Grad-CAM map ({words})",
    )


def identity(group: Group) -> Verdict:
    """C2: T1 for every class; the controls must fail."""
    own = group.get("verify-gradcam", "fa_cnn")
    if own is None:
        return Verdict(UNTESTED, "needs verify-gradcam/fa_cnn")
    holds, words = _identity(own)
    table = own.table("identity.csv")
    references = ", ".join(sorted(table.reference.unique()))
    evidence = f"{words}; {table.target.nunique()} classes x {table.images.max()} images, against {references}"
    controls = [
        f"{label} {'holds too: the check is not sharp' if _identity(run)[0] else 'fails, as it must'}"
        for label, run in (
            ("ResNet", group.resnet("verify-gradcam")),
            ("probability instead of logit", group.get("verify-gradcam", CONTROL)),
        )
        if run
    ]
    return Verdict(HOLDS if holds else FAILS, "; ".join([evidence, *controls]))


def morphing(group: Group) -> Verdict:
    """C3: T2's bound at every layer, and the step from layer to layer beside the network without skips."""
    own = group.get("verify-gradcam", "fa_cnn")
    if own is None:
        return Verdict(UNTESTED, "needs verify-gradcam/fa_cnn")
    table = own.table("morphing.csv")
    evidence = (
        f"every layer within its bound; relative change {table.relative_change.min():.2f} to "
        f"{table.relative_change.max():.2f}, cosine to the previous {table.cosine_to_previous.min():.2f} or more, "
        f"to the last {table.cosine_to_last.iloc[0]:.2f} after the first layer"
    )
    for label, name in (("without skips", "fa_cnn_plain"), ("undamped", "fa_cnn_undamped")):
        if run := group.get("verify-gradcam", name):
            other = run.table("morphing.csv")
            evidence += f"; {label} {other.relative_change.max():.2f} and {other.cosine_to_previous.min():.2f}"
    return Verdict(HOLDS if bool(table.holds.all()) else FAILS, evidence)


def accuracy(group: Group) -> Verdict:
    """C4: top-1 beside the ResNet of the same recipe, means over seeds."""
    resnet = next((name for name in RESNETS if name in group.networks), None)
    if "fa_cnn" not in group.networks or resnet is None:
        return Verdict(UNTESTED, f"needs train/fa_cnn and train/{' or train/'.join(RESNETS)}")
    own, other = ([run.json("metrics.json") for run in group.networks[name]] for name in ("fa_cnn", resnet))
    a, b = (100 * sum(m["top1"] for m in metrics) / len(metrics) for metrics in (own, other))
    return Verdict(
        HOLDS if a - b >= -LEVEL_POINTS else FAILS,
        f"{a:.1f} % against {b:.1f} % of `{resnet}` by the same recipe, {a - b:+.1f} points (held if not below "
        f"-{LEVEL_POINTS:.0f}), at {own[0]['macs'] / other[0]['macs']:.1f} times its cost; seeds: {len(own)} and "
        f"{len(other)}",
    )


def _share(line: Mapping[Hashable, Any]) -> str:
    low, high = line["share_of_occlusion_low"], line["share_of_occlusion_high"]
    return f"{line['share_of_occlusion']:.2f} [{low:.2f}, {high:.2f}]"


def removal(group: Group) -> Verdict:
    """C5: LeRF - MoRF of the feature map against permutation and controls, and against the ResNet's Grad-CAM."""
    own, resnet = group.get("benchmark-removal", "fa_cnn"), group.resnet("benchmark-removal")
    if own is None or resnet is None:
        needed = " or ".join(f"benchmark-removal/{name}" for name in RESNETS)
        return Verdict(UNTESTED, f"needs benchmark-removal/fa_cnn and {needed}")
    table, other = own.differences, resnet.differences
    others = ("random", "center", "permutation", "occlusion")
    for run, methods in ((own, {"feature_map", *others}), (resnet, {"grad_cam", "occlusion"})):
        if lacking := sorted(methods - set(run.differences.index)):
            return Verdict(UNTESTED, f"benchmark-removal/{run.name} needs {', '.join(lacking)}, and both orders")
    area = table.lerf_minus_morf
    parts, good = [], []
    for method in others:
        line = table.loc[method]
        behind = line.minus_reference_low > 0  # the other method is ahead, beyond the interval
        good.append(not behind or method == "occlusion")  # the claim names permutation; occlusion is our yardstick
        parts.append(f"{method} {area[method]:.3f}")
    share, yardstick = table.to_dict("index")["feature_map"], other.to_dict("index")["grad_cam"]
    good.append(share["share_of_occlusion_high"] >= yardstick["share_of_occlusion_low"])
    return Verdict(
        HOLDS if all(good) else FAILS,
        f"LeRF - MoRF area of the feature map {area['feature_map']:.3f}; {', '.join(parts)} on the same network; share "
        f"of occlusion's {_share(share)}, Grad-CAM on `{resnet.name}` {_share(yardstick)}; {int(table.n.iloc[0])} "
        f"images (held if not behind beyond the intervals)",
    )


TESTS = {"C1": alignment, "C2": identity, "C3": morphing, "C4": accuracy, "C5": removal}


def judge(group: Group) -> dict[str, Verdict]:
    """Return the verdict on every claim from the runs of one group."""
    verdicts = {claim: test(group) for claim, test in TESTS.items()}
    return verdicts | {"C6": Verdict(UNTESTED, "a statement about future work")}
