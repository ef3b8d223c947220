import json
import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from fa_repro.reporting.claims import FAILS, HOLDS, OPEN, UNTESTED, judge
from fa_repro.reporting.collect import ABLATIONS, PROFILES, Group, groups
from fa_repro.reporting.front import front
from fa_repro.reporting.page import BEGIN, END, readme_part, replace_part, report
from fa_repro.reporting.search import COLUMNS

PROVENANCE = {
    "seed": 0,
    "device": "cpu",
    "packages": {"torch": "2.9"},
    "git": {"commit": "0123456789ab", "dirty": False},
}


def make_run(root, command, name, tables=None, metrics=None, pictures=()):
    path = root / command / name
    path.mkdir(parents=True)
    (path / "provenance.json").write_text(json.dumps(PROVENANCE))
    for file, rows in (tables or {}).items():
        pd.DataFrame(rows).to_csv(path / file, index=False)
    if metrics:
        (path / "metrics.json").write_text(json.dumps(metrics))
    for picture in pictures:
        (path / picture).write_bytes(b"")


def metrics(top1):
    return {
        "top1": top1, "loss": 1.0, "n_test": 100, "n_train": 900, "parameters": 1_000_000, "macs": 30_000_000,
        "epochs": 2, "precision": "fp32", "images_per_second": 400.0, "seconds": 60.0,
    }  # fmt: skip


def identity_rows(holds, error):
    return [
        {"target": "cat", "dtype": dtype, "reference": "autograd", "images": 4, "max_rel_error": error, "holds": holds}
        for dtype in ("float64", "float32")
    ]


# Relative change, cosine to the previous and to the last maps, layer by layer: measured on shapes (first two rounded).
MORPHING = {
    "fa_cnn": [(0.77, 0.77, 0.61), (0.81, 0.73, 0.71), (0.98, 0.71, 1.0)],
    "fa_cnn_plain": [(1.57, 0.49, 0.33), (1.20, 0.27, 0.31), (1.18, 0.31, 1.0)],
    "fa_cnn_undamped": [(1.74, 0.77, 0.84), (0.77, 0.88, 0.94), (0.50, 0.94, 1.0)],
}


def morphing_rows(name):
    columns = ("relative_change", "cosine_to_previous", "cosine_to_last")
    return [dict(zip(columns, row, strict=True)) | {"holds": True} for row in MORPHING.get(name, MORPHING["fa_cnn"])]


def verify(root, name, holds=True):
    error = 1e-16 if holds else 0.5
    tables = {"identity.csv": identity_rows(holds, error)}
    if name != "resnet_small":
        tables["morphing.csv"] = morphing_rows(name)
        tables["decomposition.csv"] = [
            {"dtype": "float64", "part": "pixels", "max_rel_error": None, "holds": None},
            {"dtype": "float64", "part": "sum of parts", "max_rel_error": 1e-16, "holds": True},
        ]
    make_run(root, "verify-gradcam", name, tables, pictures=["identity.png"])


def around(name, value, half):
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}


def removal(root, name, areas, share):
    reference = "feature_map" if "feature_map" in areas else next(iter(areas))
    rows = [
        {"method": method, "n": 100, "reference": reference}
        | around("lerf_minus_morf", area, 0.01)
        | around("minus_reference", area - areas[reference], 0.01)
        | around("won", 0.25, 0.05)
        | around("share_of_occlusion", share.get(method, 1.0), 0.02)
        | around("minus_random", area, 0.01)
        | around("minus_center", area - 0.1, 0.01)
        for method, area in areas.items()
    ]
    rows = [row | {"imputation": "mean"} for row in rows]
    # A second imputation under which everything is lost: no verdict may go by it.
    rows += [row | {"imputation": "zero", "lerf_minus_morf": -1.0, "minus_reference_low": 1.0} for row in rows]
    summary = [
        {"method": row["method"], "order": order, "imputation": row["imputation"]}
        | around("auc_probability", value, 0.01)
        for row in rows
        for order, value in (("morf", 0.25), ("lerf", 0.25 + row["lerf_minus_morf"]))
    ]
    told = {"conditions": f"{name}, 100 images.", "warnings": {"mean": [], "zero": ["A control wins."]}}
    make_run(root, "benchmark-removal", name, {"differences.csv": rows, "summary.csv": summary}, told)


@pytest.fixture
def whole(tmp_path):
    root = tmp_path / "shapes"
    for name in ("fa_cnn", *ABLATIONS, "resnet_small"):
        make_run(root, "train", name, metrics=metrics(0.9 if name == "fa_cnn" else 0.905), pictures=["curves.png"])
    verify(root, "fa_cnn")
    verify(root, "fa_cnn_linear_head", holds=False)
    verify(root, "fa_cnn_plain")
    verify(root, "fa_cnn_undamped")
    verify(root, "resnet_small", holds=False)
    areas = {"feature_map": 0.3, "permutation": 0.2, "occlusion": 0.4, "random": 0.0, "center": 0.1}
    removal(root, "fa_cnn", areas, {"feature_map": 0.75})
    removal(root, "resnet_small", {"grad_cam": 0.2, "occlusion": 0.4}, {"grad_cam": 0.5})
    return tmp_path


def verdicts(results):
    (group,) = groups(results)
    return {claim: verdict.answer for claim, verdict in judge(group).items()}


def test_every_claim_holds_on_runs_that_support_it(whole):
    assert verdicts(whole) == {"C1": HOLDS, "C2": HOLDS, "C3": HOLDS, "C4": HOLDS, "C5": HOLDS, "C6": UNTESTED}


@pytest.mark.parametrize(
    ("claim", "file", "column", "value", "words"),
    [
        ("C2", "verify-gradcam/fa_cnn/identity.csv", "holds", False, "largest relative error"),
        ("C1", "verify-gradcam/fa_cnn/identity.csv", "holds", False, "every class's map is not its Grad-CAM map"),
        ("C1", "verify-gradcam/fa_cnn_linear_head/identity.csv", "holds", True, "they are Grad-CAM maps still"),
        ("C1", "verify-gradcam/fa_cnn/decomposition.csv", "holds", False, "do not add up to the logit"),
        ("C1", "verify-gradcam/fa_cnn_plain/morphing.csv", "cosine_to_last", 0.9, "without skips 0.90"),
        ("C3", "verify-gradcam/fa_cnn/morphing.csv", "holds", False, "beyond the bound"),
        ("C3", "verify-gradcam/fa_cnn/morphing.csv", "relative_change", 1.3, "by 1.30 of their norm"),
        ("C3", "verify-gradcam/fa_cnn/morphing.csv", "cosine_to_last", 0.5, "to the last maps 0.50, 0.50, 0.50"),
        ("C3", "verify-gradcam/fa_cnn_plain/morphing.csv", "cosine_to_previous", 0.8, "without skips 0.80 or less"),
        ("C5", "benchmark-removal/fa_cnn/differences.csv", "share_of_occlusion_high", 0.47, "Grad-CAM on"),
        ("C5", "benchmark-removal/fa_cnn/differences.csv", "minus_reference_low", 0.05, "random 0.000"),
    ],
)
def test_a_run_that_contradicts_a_claim_turns_its_verdict(whole, claim, file, column, value, words):
    path = whole / "shapes" / file
    table = pd.read_csv(path)
    table[column] = value
    table.to_csv(path, index=False)
    verdict = judge(*groups(whole))[claim]
    assert verdict.answer == FAILS and words in verdict.evidence


@pytest.mark.parametrize("ablation", ["fa_cnn_plain", "fa_cnn_undamped"])
def test_the_ablations_do_not_morph_slowly(whole, ablation):
    path = whole / "shapes/verify-gradcam/fa_cnn/morphing.csv"
    pd.DataFrame(morphing_rows(ablation)).to_csv(path, index=False)
    assert verdicts(whole)["C3"] == FAILS


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("metrics.json", metrics(0.9) | {"macs": 40_000_000}),
        ("config.yaml", {"trainer": {"epochs": 3}}),
    ],
)
def test_networks_of_another_recipe_or_cost_are_not_compared(whole, file, words):
    for name in ("fa_cnn", "resnet_small"):
        (whole / "shapes/train" / name / "config.yaml").write_text(json.dumps({"trainer": {"epochs": 2}}))
    assert verdicts(whole)["C4"] == HOLDS
    (whole / "shapes/train/fa_cnn" / file).write_text(json.dumps(words))
    assert verdicts(whole)["C4"] == UNTESTED


def test_the_removal_claim_is_open_within_the_intervals_and_untested_without_a_yardstick(whole):
    path = whole / "shapes/benchmark-removal/fa_cnn/differences.csv"
    table = pd.read_csv(path).set_index(["method", "imputation"])

    def verdict(method, **changed):
        new = table.copy()
        for column, value in changed.items():
            new.loc[(method, "mean"), column] = value
        new.reset_index().to_csv(path, index=False)
        return verdicts(whole)["C5"]

    assert verdict("permutation") == HOLDS
    assert verdict("permutation", lerf_minus_morf=0.305, minus_reference_low=-0.005) == OPEN
    assert verdict("permutation", lerf_minus_morf=0.315, minus_reference_low=0.005) == FAILS
    assert verdict("occlusion", lerf_minus_morf=0.9, minus_reference_low=0.59) == HOLDS  # the yardstick may be ahead
    assert verdict("feature_map", share_of_occlusion=0.49, share_of_occlusion_high=0.51) == OPEN
    assert verdict("feature_map", share_of_occlusion=None) == UNTESTED


def test_the_first_imputation_named_is_the_reports(whole):
    path = whole / "shapes/benchmark-removal/fa_cnn/differences.csv"
    table = pd.read_csv(path)
    assert verdicts(whole)["C5"] == HOLDS and "-1.000" not in judge(*groups(whole))["C5"].evidence
    table.iloc[::-1].to_csv(path, index=False)
    assert verdicts(whole)["C5"] == FAILS and "-1.000" in judge(*groups(whole))["C5"].evidence


def test_accuracy_holds_down_to_one_point_below_the_resnet(whole):
    path = whole / "shapes/train/fa_cnn/metrics.json"
    path.write_text(json.dumps(metrics(0.896)))
    assert verdicts(whole)["C4"] == HOLDS
    path.write_text(json.dumps(metrics(0.894)))
    assert verdicts(whole)["C4"] == FAILS


def test_conditions_that_differ_between_runs_are_all_told(whole):
    assert "900 training and 100 test images, fp32, on cpu, torch 2.9, commit 0123456789." in readme_part(groups(whole))
    path = whole / "shapes/train/resnet_small"
    (path / "metrics.json").write_text(json.dumps(metrics(0.9) | {"n_train": 1800, "precision": "bf16"}))
    (path / "provenance.json").write_text(json.dumps(PROVENANCE | {"device": "cuda"}))
    words = "900 or 1,800 training and 100 test images, fp32 or bf16, on cpu or cuda, torch 2.9, commit 0123456789."
    assert words in readme_part(groups(whole))


def test_nothing_under_results_is_reported_as_not_tested(tmp_path):
    page = report(groups(tmp_path), tmp_path)
    assert "not tested" in page
    assert f"**{HOLDS}**" not in page


def test_a_missing_run_is_said_to_be_missing_and_its_claim_not_tested(whole):
    for file in (whole / "shapes/verify-gradcam/fa_cnn").iterdir():
        file.unlink()
    page = report(groups(whole), whole)
    assert "`verify-gradcam/fa_cnn`" in page.split("**Missing runs**")[1]
    assert verdicts(whole)["C2"] == UNTESTED


def commands_of(folder, *words):
    """Run scripts/reproduce.sh with a command that writes down what it is told to do; return that."""
    script = Path(__file__).parents[1] / "scripts" / "reproduce.sh"
    (folder / "fa-repro").write_text('#!/bin/sh\necho "$@" >> words\n')
    (folder / "fa-repro").chmod(0o755)
    subprocess.run(["bash", str(script), *words], cwd=folder, env=os.environ | {"BIN": "."}, check=True)
    *lines, last = (folder / "words").read_text().splitlines()
    assert last == "report"
    return [line.split() for line in lines]


@pytest.mark.parametrize("words", [["shapes"], ["cifar10", "data"]])
def test_the_script_makes_the_runs_that_the_report_asks_for(tmp_path, words):
    made = set()
    for command, *rest in commands_of(tmp_path, *words):
        keys = dict(word.split("=", 1) for word in rest)
        if "seed" not in keys:
            made.add((keys["results"].removeprefix("results/"), f"{command}/{keys['name']}"))
    groups = [Group(name, tmp_path / name) for name in PROFILES if name.startswith(words[0])]
    asked = {(group.name, run) for group in groups for run in group.missing()}
    assert made == asked and len(asked) > 15


def test_the_script_searches_every_grid(tmp_path):
    grids = {file.stem for file in (Path(__file__).parents[1] / "configs/experiment/search").glob("*.yaml")}
    lines = commands_of(tmp_path, "search", "data")
    assert sorted(line[4].removeprefix("experiment=search/") for line in lines) == sorted(grids - {"base"})
    assert all(line[:4] == ["train", "-m", "data=cifar10", "data.root=data"] for line in lines)


def test_localization_is_told_where_it_was_run_and_said_not_to_be_where_it_was_not(whole):
    def told():
        return report(groups(whole), whole).split("**Localization**")[1].split("**Sanity**")[0]

    assert "Not run." in told()
    lines = [
        {
            "measure": measure,
            "method": method,
            "value": value,
            "low": value - 0.02,
            "high": value + 0.04,
            "chance": 0.25,
        }
        for measure, value in (("energy", 0.5), ("grid", 0.75))
        for method in ("center", "feature_map")
    ]
    words = {"conditions": "fa_cnn trained on shapes, 100 images."}
    make_run(whole / "shapes", "benchmark-localization", "fa_cnn", {"localization.csv": lines}, words, ["bars.png"])
    page = told()
    assert "Not run." not in page and f"- `fa_cnn`: {words['conditions']}" in page
    assert "| network | measure | chance | `feature_map` | `center` |" in page
    assert "| `fa_cnn` | grid | 0.250 | 0.750 ± 0.030 | 0.750 ± 0.030 |" in page
    assert "(shapes/benchmark-localization/fa_cnn/bars.png)" in report(groups(whole), whole)


def removal_part(results):
    return report(groups(results), results).split("**Percent pixels removed**")[1].split("**Localization**")[0]


def test_shares_stand_beside_the_controls_and_say_which_method_is_behind_one(whole):
    methods = ("feature_map", "grad_cam", "permutation", "occlusion", "random", "center")
    header = f"| network | removed pixels | images | {' | '.join(f'`{name}`' for name in methods)} |"
    assert header in removal_part(whole)
    path = whole / "shapes/benchmark-removal/fa_cnn/differences.csv"
    table = pd.read_csv(path)
    table.loc[(table.method == "permutation") & (table.imputation == "mean"), "minus_center_low"] = 0.0
    table.to_csv(path, index=False)
    equal = "1.00 [0.98, 1.02]"
    page = removal_part(whole)
    assert f"| `fa_cnn` | mean | 100 | 0.75 [0.73, 0.77] | – | {equal} † | {equal} | {equal} | {equal} |" in page
    assert "| `fa_cnn` | zero | 100 |" in page and "| `resnet_small` | mean | 100 | – | 0.50 [0.48, 0.52] |" in page
    table.drop(columns="minus_center_low").assign(share_of_occlusion=None).to_csv(path, index=False)
    assert "| `fa_cnn` | mean | 100 | – † | – | – † |" in removal_part(
        whole
    )  # what isn't known isn't taken for granted


def test_each_network_has_its_orders_conditions_and_warnings(whole):
    page = removal_part(whole)
    assert "`fa_cnn`: fa_cnn, 100 images.\n\n- zero: A control wins.\n\n| removed pixels | method |" in page
    own = "0.250 [0.240, 0.260] | 0.550 [0.540, 0.560] | 0.300 [0.290, 0.310]"
    assert f"| mean | `feature_map` | {own} | – | – |" in page
    other = "0.250 [0.240, 0.260] | 0.450 [0.440, 0.460] | 0.200 [0.190, 0.210]"
    assert f"| mean | `permutation` | {other} | -0.100 [-0.110, -0.090] | 0.25 [0.20, 0.30] |" in page
    (whole / "shapes/benchmark-removal/fa_cnn/differences.csv").unlink()  # as of one order alone
    page = report(groups(whole), whole)
    assert "| mean | `feature_map` | 0.250 [0.240, 0.260] | 0.550 [0.540, 0.560] | – | – | – |" in page


def test_every_figure_is_linked_and_exists(whole):
    page = report(groups(whole), whole)
    pictures = sorted(path.relative_to(whole).as_posix() for path in whole.rglob("*.png"))
    assert pictures
    assert all(f"({picture})" in page for picture in pictures)


def test_real_data_come_before_the_embedded_set(whole):
    make_run(whole / "zoo", "train", "fa_cnn", metrics=metrics(0.5))
    assert [group.name for group in groups(whole)] == ["zoo", "shapes"]
    assert readme_part(groups(whole)).startswith("### zoo")
    assert "### shapes" not in readme_part(groups(whole))


def test_a_table_beside_the_runs_is_no_run(whole):
    """Such as the comparison with other libraries, results/peers/provenance.json."""
    (whole / "peers").mkdir()
    (whole / "peers" / "provenance.json").write_text(json.dumps(PROVENANCE))
    assert [group.name for group in groups(whole)] == ["shapes"]


def test_the_readme_keeps_everything_outside_the_marks():
    assert replace_part(f"above {BEGIN} old {END} below", "new") == f"above {BEGIN}\n\nnew\n\n{END} below"
    assert replace_part("no marks", "new") is None


def test_a_damaged_table_is_one_line(whole, monkeypatch, capsys):
    from fa_repro.cli import main

    (whole / "shapes/verify-gradcam/fa_cnn/identity.csv").write_bytes(b"\x00\xff\xfe")
    monkeypatch.setattr("sys.argv", ["fa-repro", "report", f"results={whole}"])
    with pytest.raises(SystemExit) as left:
        main()
    error = capsys.readouterr().err
    assert left.value.code == 2
    assert error.count("\n") == 1 and "identity.csv" in error


def test_the_command_writes_the_report_and_the_readme(whole, monkeypatch, tmp_path):
    from fa_repro.cli import main

    readme = tmp_path / "README.md"
    readme.write_text(f"# title\n{BEGIN}\n{END}\nrest\n")
    monkeypatch.setattr("sys.argv", ["fa-repro", "report", f"results={whole}", f"readme={readme}"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 0
    assert "## shapes" in (whole / "REPORT.md").read_text()
    assert "90.0" in readme.read_text() and readme.read_text().endswith("rest\n")


def test_seeds_of_a_network_are_one_line_with_their_mean_and_spread(whole):
    for seed, top1 in ((1, 0.88), (2, 0.92)):
        make_run(whole / "shapes", "train", f"fa_cnn-seed{seed}", metrics=metrics(top1))
    page = report(groups(whole), whole)
    # 90, 88 and 92: a mean of 90, and squares of 0, 4 and 4 over 2 degrees of freedom.
    assert "| `fa_cnn` | 90.00 ± 2.00 | 3 |" in page and "`fa_cnn-seed1` | 8" not in page
    assert "90.0 % against 90.5 % of `resnet_small`" in page and "seeds: 3 and 1" in page
    make_run(whole / "shapes", "train", "resnet_whitened", metrics=metrics(0.92))
    assert verdicts(whole)["C4"] == FAILS  # held against the better baseline, once it is there


def test_sanity_and_speed_are_told(whole):
    assert "Not run." in report(groups(whole), whole).split("**Speed**")[1]
    lines = [
        {"method": method, "layer": "l", "depth": depth, "correlation": value, "low": value - 0.1, "high": value + 0.3}
        for method, depth, value in (("center", 1, 1.0), ("feature_map", 0, 1.0), ("feature_map", 1, 0.25))
    ]
    make_run(whole / "shapes", "benchmark-sanity", "fa_cnn", {"sanity.csv": lines})
    ratios = [
        {"comparison": "a of b", "ratio": 1.25, "low": 1.0, "high": 1.5, "sense": ">=", "limit": 1.2, "met": True},
        {"comparison": "c of d", "ratio": 1.25, "low": 1.0, "high": 1.5, "sense": ">=", "limit": 3, "met": False},
        {"comparison": "e of f", "ratio": 1.25, "low": 1.0, "high": 1.5, "sense": None, "limit": None, "met": None},
    ]
    make_run(whole / "shapes", "benchmark-speed", "training", {"ratios.csv": [r | {"waiting": 0.05} for r in ratios]})
    make_run(whole / "shapes", "benchmark-speed", "busy", {"ratios.csv": [r | {"waiting": 0.06} for r in ratios]})
    page = report(groups(whole), whole)
    assert "| network | `feature_map` | `center` |" in page
    assert "| `fa_cnn` | 0.25 ± 0.20 | 1.00 ± 0.20 |" in page
    assert "| `training` | a of b | >= 1.2 | 1.25 [1.00, 1.50] | kept |" in page
    assert "| `training` | c of d | >= 3 | 1.25 [1.00, 1.50] | **not kept** |" in page
    assert "| `training` | e of f | – | 1.25 [1.00, 1.50] | – |" in page
    assert "| `busy` | a of b | >= 1.2 | 1.25 [1.00, 1.50] | busy machine, no verdict |" in page
    assert "| `busy` | e of f | – | 1.25 [1.00, 1.50] | – |" in page


def test_the_front_has_networks_trained_with_removal_and_no_others(whole, cli):
    def trained(group, name, **trainer):
        path = whole / group / "train" / name
        if not path.exists():
            make_run(whole / group, "train", name, metrics=metrics(0.8))
        (path / "config.yaml").write_text(json.dumps({"trainer": trainer}))

    for name in ("fa_cnn", "resnet_whitened", "untested"):
        trained("gone", name, locality=0.0, augment={"removal": 0.5})
    removal(whole / "gone", "fa_cnn", {"feature_map": 0.3, "occlusion": 0.4}, {"feature_map": 0.75})
    removal(whole / "gone", "resnet_whitened", {"grad_cam": 0.2, "occlusion": 0.4}, {"grad_cam": 0.5})
    (whole / "docs").mkdir()
    readme = whole / "docs" / "README.md"
    readme.write_text(f"{BEGIN}{END}")
    assert cli("report", f"results={whole}", f"readme={readme}").code == 0
    assert "(../front.png)" in readme.read_text()
    table = pd.read_csv(whole / "front.csv")
    assert table.network.tolist() == ["fa_cnn", "resnet_whitened"] and table.group.unique().tolist() == ["gone"]
    assert table.method.tolist() == ["feature_map", "grad_cam"] and table.share_of_occlusion.tolist() == [0.75, 0.5]
    assert (whole / "front.png").read_bytes().startswith(b"\x89PNG")
    page = (whole / "REPORT.md").read_text()
    assert "gone: **not tested**. benchmark-removal/fa_cnn needs center, permutation, random, and both orders." in page
    assert "(front.png)" in page and "50% of the training images had pixels removed." in page
    removal(whole / "gone", "untested", {"grad_cam": 0.2}, {})
    assert front(groups(whole)).network.tolist() == ["fa_cnn", "resnet_whitened", "untested"]
    lines = whole / "gone/benchmark-removal/untested/differences.csv"
    pd.read_csv(lines).drop(columns="share_of_occlusion").to_csv(lines, index=False)  # as without occlusion
    assert front(groups(whole)).network.tolist() == ["fa_cnn", "resnet_whitened"]
    for weight, says in ((0.0, False), (2.0, True)):
        trained("gone", "untested", locality=weight, augment={"removal": 0.5})
        page = report(groups(whole), whole)
        assert ("A loss of weight 2 had the maps say nothing where they were gone." in page) == says
    trained("gone", "untested", locality=0.0, augment={"removal": 0.0})
    assert groups(whole)[0].removal == "" and not len(front(groups(whole)))


# Searches


def tried(root, name, val_top1, model="fa_cnn", macs=40_000_000):
    run = root / "search" / "cifar10"
    make_run(run, "train", name, metrics=metrics(0.1) | {"val_top1": val_top1, "macs": macs})
    config = {"model": {"name": model, "depth": [2, 1]}, "trainer": {"lr": 0.1, "augment": {"crop": 2}}, "seed": 0}
    (run / "train" / name / "config.yaml").write_text(json.dumps(config))


def test_a_search_becomes_a_table_and_a_figure(cli, tmp_path):
    tried(tmp_path, "b", 0.5)
    tried(tmp_path, "a", 0.7, "resnet_small", 20_000_000)
    assert cli("report", f"results={tmp_path}").code == 0
    table = pd.read_csv(tmp_path / "search" / "cifar10.csv")
    assert list(table.columns) == COLUMNS
    assert table.name.tolist() == ["a", "b"] and table.val_top1.tolist() == [0.7, 0.5]
    assert table.config[1] == "depth=[2,1] lr=0.1 augment.crop=2"
    assert (tmp_path / "search" / "cifar10.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "REPORT.md").read_text()
    assert page.index("| `a` | 70.0 | 1.00 M | 20.0 M | 400 |") < page.index("| `b` | 50.0 |")
    assert "cifar10: **" not in page  # no claim is judged by a search
    assert "10.0 %" not in page  # the test accuracy of a variant is nobody's business


def test_a_searchs_table_outlives_its_runs_and_takes_new_ones(cli, tmp_path):
    tried(tmp_path, "a", 0.5)
    tried(tmp_path, "b", 0.6)
    assert cli("report", f"results={tmp_path}").code == 0
    shutil.rmtree(tmp_path / "search" / "cifar10")
    tried(tmp_path, "b", 0.8)
    tried(tmp_path, "c", 0.4)
    assert cli("report", f"results={tmp_path}").code == 0
    table = pd.read_csv(tmp_path / "search" / "cifar10.csv")
    assert dict(zip(table.name, table.val_top1, strict=True)) == {"a": 0.5, "b": 0.8, "c": 0.4}


@pytest.mark.parametrize("text", ["", "name,val_top1\na,0.5\n"])
def test_a_table_that_is_no_searchs_is_refused(cli, tmp_path, text):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "cifar10.csv").write_text(text)
    code, _, err = cli("report", f"results={tmp_path}")
    assert code == 2 and err.count("\n") == 1 and "cifar10.csv" in err


def test_a_variant_without_validation_is_refused(cli, tmp_path):
    tried(tmp_path, "a", None)
    code, _, err = cli("report", f"results={tmp_path}")
    assert code == 2 and "trainer.val_fraction" in err
