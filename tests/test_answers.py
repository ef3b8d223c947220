"""The questions of the README and their answers, from runs whose numbers are known."""

import json
import shutil

from fa_repro.reporting.answers import answers
from fa_repro.reporting.collect import groups
from fa_repro.reporting.trainings import welch
from made_runs import make_run, metrics, removal, verify


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


def test_where_maps_lie_and_what_they_come_from_is_told_of_each_networks_own(tmp_path):
    for name, method, share in (("fa_cnn", "feature_map", 0.5), ("resnet_small", "grad_cam", 0.75)):
        lines = [
            {"measure": measure, "method": m, "value": value, "chance": 0.25}
            for measure, value in (("energy", 0.9), ("grid", share), *([("grid_peak", 1.0)] * (name == "fa_cnn")))
            for m in (method, "occlusion")
        ]
        if name == "fa_cnn":
            lines.append({"measure": "grid", "method": "contrast_map", "value": 0.7, "chance": 0.25})
        make_run(tmp_path / "zoo", "benchmark-localization", name, {"localization.csv": lines})
        rows = [
            {"method": m, "depth": depth, "correlation": share / (depth + 1)}
            for m in (method, "center")
            for depth in (0, 1)
        ]
        make_run(tmp_path / "zoo", "benchmark-sanity", name, {"sanity.csv": rows})
    make_run(tmp_path / "zoo", "benchmark-localization", "fa_cnn-contrast", {"localization.csv": lines})  # a variant
    make_run(tmp_path / "zoo", "benchmark-localization", "other", {"localization.csv": lines[:2]})  # no mosaics
    where, told, learned, correlated = answers(groups(tmp_path))
    assert where.startswith("- **Do they lie where the object is?**")
    assert told == (
        "    - zoo: feature map of `fa_cnn` 0.50 (0.25 of a uniform map, contrast map 0.70, occlusion 0.50; "
        "the maximum is there in 100 %), "
        "grad cam of `resnet_small` 0.75 (0.25 of a uniform map, occlusion 0.75)"
    )
    assert learned.startswith("- **Do they come from what was learned?**")
    assert correlated == "    - zoo: feature map of `fa_cnn` 0.25, grad cam of `resnet_small` 0.38"


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
