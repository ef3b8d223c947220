"""The questions of the README and their answers, from runs whose numbers are known."""

import json
import shutil

import pytest

from fa_repro.reporting.answers import answers
from fa_repro.reporting.collect import groups
from fa_repro.reporting.trainings import welch
from made_runs import around, make_run, metrics, removal, verify


def test_nothing_run_answers_nothing(tmp_path):
    assert answers(groups(tmp_path)) == []


def test_identity_counts_fa_cnns_with_their_head_and_says_the_largest_errors(whole):
    true, *_ = answers(groups(whole))  # of fa_cnn; of _plain and _undamped; not of the linear head, nor the ResNet
    told = (
        "- **Is it true?** In 1 of 1 trained FA-CNNs every class's feature map is its Grad-CAM map: the largest "
        "relative error is 1.0e-16 in float64 and 1.0e-16 in float32."
    )
    head = " So it is in 2 of 2 ablations that keep the GAP head: the head alone makes it so."
    skips = (
        " Skips align the earlier layers: the first block's maps have a cosine of 0.61 to the last ones with dampened "
        "skips, 0.84 with ordinary ones and 0.33 without (shapes)."
    )
    assert true == told + head + skips
    verify(whole / "shapes", "fa_cnn_local", holds=False)
    true, *_ = answers(groups(whole))
    assert "In 1 of 2 trained FA-CNNs" in true and "5.0e-01 in float64" in true
    verify(whole / "shapes", "fa_cnn-probability", holds=False)  # the control, which must fail
    assert answers(groups(whole))[0] == true
    for name in ("fa_cnn_linear_head-seed1", "resnet_small-seed1"):  # no FA-CNNs with their head, whatever the seed
        verify(whole / "shapes", name, holds=False)
    assert answers(groups(whole))[0] == true
    verify(whole / "shapes", "fa_cnn_plain-seed1")
    assert " 3 of 3 ablations that" in answers(groups(whole))[0]
    shutil.rmtree(whole / "shapes/verify-gradcam/fa_cnn_plain-seed1")
    shutil.rmtree(whole / "shapes/verify-gradcam/fa_cnn_undamped")
    true, *_ = answers(groups(whole))
    assert " 1 of 1 ablations that" in true and "Skips align" not in true
    shutil.rmtree(whole / "shapes/verify-gradcam/fa_cnn_plain")
    assert "ablations" not in answers(groups(whole))[0]


def test_cost_is_the_difference_to_the_resnet_of_the_group_over_seeds(whole):
    make_run(whole / "shapes", "train", "fa_cnn-seed1", metrics=metrics(0.94))
    lines = answers(groups(whole))
    place = next(i for i, line in enumerate(lines) if line.startswith("- **What does it cost?**"))
    # fa_cnn: 90 and 94, a mean of 92; the ResNet has 90.5, and so have the ablations, which are no answer to this.
    cost = "    - shapes: `fa_cnn` +1.50; `resnet_small` has 90.5 %"
    assert lines[place + 1] == cost
    assert not any("good" in line for line in lines)  # no network saw removal in training
    make_run(whole / "shapes", "train", "resnet_small-seed1", metrics=metrics(0.885))
    ahead, _ = welch([90, 94], [90.5, 88.5])
    cost = f"    - shapes: `fa_cnn` +2.50 [{ahead.low:+.2f}, {ahead.high:+.2f}]; `resnet_small` has 89.5 %"
    assert ahead.low < 0 < ahead.high and answers(groups(whole))[place + 1] == cost


def test_networks_of_two_precisions_are_said_to_be(whole):
    path = whole / "shapes/train/resnet_small/metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"precision": "bf16"}))
    told = "    - shapes: `fa_cnn` -0.50 (in fp32, the ResNet in bf16); `resnet_small` has 90.5 %"
    assert told in answers(groups(whole))


def test_maps_are_told_of_networks_that_saw_removal(tmp_path):
    for name, share in (("fa_cnn", {"feature_map": 0.75}), ("resnet_small", {"grad_cam": 0.5})):
        make_run(tmp_path / "gone", "train", name, metrics=metrics(0.8))
        config = {"trainer": {"locality": 0.0, "augment": {"removal": 0.5}}}
        (tmp_path / "gone/train" / name / "config.yaml").write_text(json.dumps(config))
        more = {"permutation": 0.38} if name == "fa_cnn" else {}
        removal(
            tmp_path / "gone", name, {next(iter(share)): 0.3, "occlusion": 0.4} | more, share | {"permutation": 0.95}
        )
    *_, question, line = answers(groups(tmp_path))
    assert question.startswith("- **Are the maps any good?**")
    assert line == (
        "    - gone: feature map of `fa_cnn` 0.75 [0.73, 0.77] (permutation 0.95), "
        "grad cam of `resnet_small` 0.50 [0.48, 0.52]"
    )
    removal(tmp_path / "gone", "fa_cnn-seed1", {"feature_map": 0.3, "occlusion": 0.4}, {"feature_map": 0.65})
    removal(tmp_path / "gone", "fa_cnn-nearest", {"feature_map": 0.3, "occlusion": 0.4}, {"feature_map": 0.1})
    # A mean of 0.70, a standard deviation of 0.1 / sqrt(2), and from the lowest end of both intervals to the highest.
    assert "feature map of `fa_cnn` 0.70 ± 0.07 [0.63, 0.77], grad" in answers(groups(tmp_path))[-1]


def test_maps_that_a_control_may_be_ahead_of_are_marked_and_others_are_not(tmp_path):
    """The control in the middle has an area of 0.1: see `removal`."""
    for name, area in (("fa_cnn", 0.3), ("fa_cnn_local", 0.105)):
        make_run(tmp_path / "gone", "train", name, metrics=metrics(0.8))
        config = {"trainer": {"locality": 0.0, "augment": {"removal": 0.5}}}
        (tmp_path / "gone/train" / name / "config.yaml").write_text(json.dumps(config))
        areas = {"feature_map": area, "occlusion": 0.4, "permutation": 0.405 - area}
        removal(tmp_path / "gone", name, areas, {"feature_map": area, "permutation": 0.5})
    question, line = answers(groups(tmp_path))[-2:]
    assert "†: not ahead of every control" in question
    beaten, unbeaten = "feature map of `fa_cnn` 0.30 [0.28, 0.32]", "feature map of `fa_cnn_local` 0.10 [0.08, 0.12] †"
    assert line == f"    - gone: {beaten} (permutation 0.50 †), {unbeaten} (permutation 0.50)"


def located(measure, method, value, chance=0.25, ahead=0.1):
    """Return a line of localization.csv: value and interval, and ``ahead`` of both controls, give or take 0.05."""
    minus = [around(f"minus_{control}", ahead, 0.05) for control in ("random", "center")]
    figures = {"value": value, "low": value - 0.02, "high": value + 0.03}
    return {"measure": measure, "method": method, "chance": chance, **figures} | minus[0] | minus[1]


def test_where_maps_lie_and_what_they_come_from_is_told_of_each_networks_own(tmp_path):
    for name, method, share in (("fa_cnn", "feature_map", 0.5), ("resnet_small", "grad_cam", 0.75)):
        lines = [
            located(measure, m, value)
            for measure, value in (("grid", share), *([("grid_peak", 0.9)] * (name == "fa_cnn")))
            for m in (method, "occlusion", "center")
        ]
        if name == "fa_cnn":
            lines.append(located("grid", "contrast_map", 0.7))
        make_run(tmp_path / "zoo", "benchmark-localization", name, {"localization.csv": lines})
        rows = [
            {"method": m, "depth": depth} | {"correlation": value, "low": value - 0.25, "high": value + 0.125}
            for m in (method, "center")
            for depth, value in enumerate((share, share / 2))
        ]
        make_run(tmp_path / "zoo", "benchmark-sanity", name, {"sanity.csv": rows})
    make_run(tmp_path / "zoo", "benchmark-localization", "fa_cnn-contrast", {"localization.csv": lines})  # a variant
    foreign = [located("grid", "feature_map", 0.5)]  # not that network's own map
    make_run(tmp_path / "zoo", "benchmark-localization", "other", {"localization.csv": foreign})
    where, told, learned, correlated = answers(groups(tmp_path))
    assert where.startswith("- **Do they lie where the object is?**")
    assert told == (
        "    - zoo: feature map of `fa_cnn` 0.50 [0.48, 0.53] (0.25 of a uniform map, contrast map 0.70 [0.68, 0.73], "
        "occlusion 0.50 [0.48, 0.53]; share of maxima there 0.90 [0.88, 0.93]), "
        "grad cam of `resnet_small` 0.75 [0.73, 0.78] (0.25 of a uniform map, occlusion 0.75 [0.73, 0.78])"
    )
    assert learned.startswith("- **Do they come from what was learned?**")
    own = "feature map of `fa_cnn` 0.25 [0.00, 0.38]"
    assert correlated == f"    - zoo: {own}, grad cam of `resnet_small` 0.38 [0.12, 0.50]"


def test_a_control_in_mosaics_is_named_where_it_is_not_beaten(tmp_path):
    methods = ("grad_cam", "random", "center")
    lines = [located(measure, m, 0.25, ahead=0.04) for measure in ("grid", "grid_peak") for m in methods]
    make_run(tmp_path / "zoo", "benchmark-localization", "resnet_small", {"localization.csv": lines})
    controls = "`random` 0.25 [0.23, 0.28] is not beaten, `center` 0.25 [0.23, 0.28] is not beaten"
    (_, told) = answers(groups(tmp_path))
    assert f"(0.25 of a uniform map, {controls}; share of maxima there 0.25 [0.23, 0.28], {controls})" in told


def inside(results, lines):
    """Return the question and its line that these lines of localization.csv answer."""
    shutil.rmtree(results / "zoo", ignore_errors=True)
    make_run(results / "zoo", "benchmark-localization", "fa_cnn", {"localization.csv": lines})
    return answers(groups(results))


@pytest.mark.parametrize(
    ("disc", "ahead", "says"),
    [(0.25, 0.25, ""), (0.75, -0.25, " is ahead"), (0.5, 0.0, " is not beaten"), (0.47, 0.03, " is not beaten")],
)
def test_maps_inside_a_box_or_mask_stand_beside_the_disc_in_the_middle(tmp_path, disc, ahead, says):
    lines = [
        located(measure, method, value, 0.3, ahead)
        for measure in ("pointing_game", "energy")
        for method, value in (("feature_map", 0.5), ("occlusion", 0.9), ("center", disc))
    ]
    question, told = inside(tmp_path, lines)
    assert question.startswith("- **And inside its box or mask?**")
    figures = (
        f"0.50 [0.48, 0.53] (0.30 of a uniform map, `center` {disc:.2f} [{disc - 0.02:.2f}, {disc + 0.03:.2f}]{says})"
    )
    assert told == f"    - zoo: feature map of `fa_cnn` pointing game {figures} and energy {figures}"
    assert inside(tmp_path, [line | {"method": "occlusion"} for line in lines[:1]]) == []  # not its own map


def test_a_control_that_a_table_does_not_tell_of_is_not_taken_for_beaten(tmp_path):
    """Tables of before there were paired differences from the controls, of a method that is not their reference."""
    values = (("occlusion", 0.4, 0.0), ("feature_map", 0.5, 0.05), ("center", 0.45, 0.0))
    lines = [
        {"measure": "energy", "method": method, "chance": 0.3, "value": value, "low": value, "high": value}
        | around("minus_reference", value - 0.4, half)
        for method, value, half in values
    ]
    assert "`center` 0.45 [0.45, 0.45] is not known to be beaten)" in inside(tmp_path, lines)[1]
    lines[1] |= around("minus_reference", 0.1, 0.04)  # at least 0.06, the disc's 0.05 at most
    assert "`center` 0.45 [0.45, 0.45])" in inside(tmp_path, lines)[1]


def test_what_a_map_costs_is_told_of_an_undisturbed_machine_alone(tmp_path):
    ratios = [
        {"comparison": f"cost of {name}", "ratio": ratio, "low": ratio - 0.1, "high": ratio + 0.1, "waiting": 0.01}
        for name, ratio in (("prediction + feature_map", 0.985), ("prediction + depth_map", 1.04), ("grad_cam", 1.5))
    ]
    make_run(tmp_path / "zoo", "benchmark-speed", "explanation-fa_cnn", {"ratios.csv": ratios})
    removals = [{"comparison": "removal of plain", "ratio": 1.7, "waiting": 0.01}]
    make_run(tmp_path / "zoo", "benchmark-speed", "removal-fa_cnn", {"ratios.csv": removals})
    question, line = answers(groups(tmp_path))
    assert question.startswith("- **What does a map cost?**")
    assert line == "    - zoo: feature map 0.98 [0.89, 1.08], depth map 1.04 [0.94, 1.14] (`fa_cnn`)"
    make_run(
        tmp_path / "busy",
        "benchmark-speed",
        "explanation",
        {"ratios.csv": [line | {"waiting": 0.2} for line in ratios]},
    )
    assert len(answers(groups(tmp_path))) == 2
    unknown = {"ratios.csv": [line | {"waiting": None} for line in ratios]}
    make_run(tmp_path / "elsewhere", "benchmark-speed", "explanation", unknown)
    assert [line[:15] for line in answers(groups(tmp_path))[1:]] == ["    - elsewhere", "    - zoo: feat"]
