"""Two networks over their trainings: how far apart they are, and whether so few trainings can tell it from chance."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import ttest_ind

from fa_repro.reporting.collect import FA_CNNS, RESNETS, Group, first_of
from fa_repro.reporting.shares import NAME
from fa_repro.statistics import LEVEL, UNKNOWN, Interval

# What a network explains itself by, in shares of occlusion's area: each is held against the ResNet's Grad-CAM.
MAPS, GRAD_CAM = ("feature_map", "contrast_map"), "grad_cam"


class Gap(NamedTuple):
    """How far an FA-CNN is ahead of the ResNet of its group in one figure, over the trainings of both."""

    network: str
    resnet: str
    figure: str
    digits: int  # that are worth writing
    trainings: tuple[int, int]
    ahead: Interval
    p: float

    @property
    def between(self) -> str:
        """The ends of the interval, to stand behind the difference; empty if they are not known."""
        ends = [f"{end:+.{self.digits}f}" for end in self.ahead[1:]]
        return "" if np.isnan(self.p) else f" [{', '.join(ends)}]"


def welch(own: Sequence[float], other: Sequence[float]) -> tuple[Interval, float]:
    """Return mean(own) - mean(other) with its 95 % confidence interval, and the two-sided p of no difference.

    Welch's test (1947, Biometrika 34: 28-35), which takes the two variances as they come. Unknown, with a p that is not
    a number, where one side has fewer than two values or neither varies.
    """
    if min(len(own), len(other)) < 2 or np.ptp(own) == np.ptp(other) == 0:
        return UNKNOWN, float("nan")
    test = ttest_ind(own, other, equal_var=False)
    low, high = test.confidence_interval(LEVEL)
    return Interval(float(np.mean(own) - np.mean(other)), float(low), float(high)), float(test.pvalue)


def in_top1(group: Group, network: str, resnet: str) -> Gap:
    """Return the gap in top-1 on test images, in points; unknown where one of them was trained once."""
    own, other = (
        [100 * run.json("metrics.json")["top1"] for run in group.networks[name]] for name in (network, resnet)
    )
    return Gap(network, resnet, "top-1 [points]", 2, (len(own), len(other)), *welch(own, other))


def gaps(group: Group) -> Iterator[Gap]:
    """Yield what is known of every FA-CNN of a group beside its ResNet: top-1, and its maps' shares of occlusion."""
    resnet = first_of(RESNETS, group.networks)
    for network in (name for name in FA_CNNS if resnet and name in group.networks):
        assert resnet
        found = [in_top1(group, network, resnet)]
        for method in MAPS if group.saw_removal else ():  # shares rank nothing where holes are foreign
            own, other = _shares(group, network, method), _shares(group, resnet, GRAD_CAM)
            words = f"{method.replace('_', ' ')}, share of occlusion's area; the ResNet's Grad-CAM"
            found.append(Gap(network, resnet, words, 3, (len(own), len(other)), *welch(own, other)))
        yield from (gap for gap in found if not np.isnan(gap.ahead.value))


def _shares(group: Group, network: str, method: str) -> list[float]:
    """Return a method's share of occlusion's area in every training where it is known."""
    tables = [run.differences for run in group.by_network("benchmark-removal").get(network, ())]
    known = [table[NAME].get(method) for table in tables if NAME in table]
    return [float(share) for share in known if share is not None and not np.isnan(share)]
