"""Networks held against each other over their trainings: Welch's test by hand, and what the report makes of it."""

import json
from math import isnan, sqrt

import pytest
from scipy.stats import t

from fa_repro.reporting.claims import judge
from fa_repro.reporting.collect import groups
from fa_repro.reporting.page import readme_parts, report
from fa_repro.reporting.trainings import gaps, welch
from made_runs import make_run, metrics, removal


def test_welch_by_hand():
    # Means 5 and 2, variances 2 and 2: the error of the difference is sqrt(2), with 2 degrees of freedom, for which
    # Student's t has a closed form.
    ahead, p = welch([4, 6], [1, 3])
    at = 3 / sqrt(2)
    assert p == pytest.approx(1 - at / sqrt(at**2 + 2), abs=1e-12)
    assert ahead == pytest.approx((3, 3 - 4.302653 * sqrt(2), 3 + 4.302653 * sqrt(2)), abs=1e-5)


def test_variances_are_taken_as_they_come():
    # Variances 2 and 1 of 2 and 3 values: 2/2 + 1/3 = 4/3, whose degrees of freedom are (4/3)^2 / (1/1 + (1/3)^2 / 2).
    ahead, p = welch([4, 6], [1, 2, 3])
    assert p == pytest.approx(2 * t.sf(3 / sqrt(4 / 3), 32 / 19), abs=1e-12)
    assert p != pytest.approx(2 * t.sf(3 / sqrt(4 / 3), 3), abs=0.02)  # as many as if they were one
    half = t.ppf(0.975, 32 / 19) * sqrt(4 / 3)
    assert ahead == pytest.approx((3, 3 - half, 3 + half), abs=1e-9)


@pytest.mark.parametrize(("own", "other"), [([1], [2, 3]), ([1, 2], [3]), ([1, 1], [2, 2]), ([], [])], ids=str)
def test_what_cannot_be_known_is_not_told(own, other):
    ahead, p = welch(own, other)
    assert isnan(p) and all(map(isnan, ahead))


@pytest.fixture
def twice(whole):
    """Two trainings of fa_cnn and the ResNet, with removal, and the benchmarks of all four."""
    group = whole / "shapes"
    make_run(group, "train", "fa_cnn-seed1", metrics=metrics(0.92))
    make_run(group, "train", "resnet_small-seed1", metrics=metrics(0.895))
    areas = {"feature_map": 0.3, "permutation": 0.2, "occlusion": 0.4, "random": 0.0, "center": 0.1}
    removal(group, "fa_cnn-seed1", areas, {"feature_map": 0.65})
    removal(group, "resnet_small-seed1", {"grad_cam": 0.2, "occlusion": 0.4}, {"grad_cam": 0.54})
    for run in (group / "train").iterdir():
        (run / "config.yaml").write_text(json.dumps({"trainer": {"augment": {"removal": 0.5}}}))
    return whole


def test_gaps_of_networks_that_were_trained_twice(twice):
    (group,) = groups(twice)
    top1, shares = gaps(group)  # no contrast map was measured
    assert (top1.network, top1.resnet, top1.trainings) == ("fa_cnn", "resnet_small", (2, 2))
    assert top1.ahead == pytest.approx(welch([90, 92], [90.5, 89.5])[0])
    assert shares.figure.startswith("feature map") and shares.trainings == (2, 2)
    # 0.75 and 0.65 beside 0.50 and 0.54, under the first imputation alone.
    assert shares.ahead == pytest.approx(welch([0.75, 0.65], [0.5, 0.54])[0])
    line = (
        f"| `fa_cnn` − `resnet_small` | top-1 [points] | 2, 2 | 1.00 [{top1.ahead.low:.2f}, {top1.ahead.high:.2f}] | "
    )
    assert line in report([group], twice) and line in readme_parts([group])["results"]
    assert f"+1.00 points [{top1.ahead.low:+.2f}, {top1.ahead.high:+.2f}] (held" in judge(group)["C4"].evidence


def test_shares_are_compared_where_removal_was_familiar(twice):
    (twice / "shapes/train/fa_cnn/config.yaml").write_text(json.dumps({"trainer": {"augment": {"removal": 0.0}}}))
    (group,) = groups(twice)
    assert [gap.figure for gap in gaps(group)] == ["top-1 [points]"]


def test_networks_that_were_trained_once_have_no_gap(whole):
    (group,) = groups(whole)
    assert not list(gaps(group))
    assert "Welch" not in report([group], whole) and "-0.50 points (held" in judge(group)["C4"].evidence
