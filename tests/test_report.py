"""The report's page, its part of the README and the command that writes both."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from fa_repro.reporting.claims import FAILS, HOLDS, UNTESTED
from fa_repro.reporting.collect import groups
from fa_repro.reporting.page import PARTS, WRITTEN, marks, readme_parts, replace_part, report
from fa_repro.reporting.tables import accuracy_table, proof_table
from made_runs import PROVENANCE, around, make_run, metrics, removal, verdicts, verify


def test_conditions_that_differ_between_runs_are_all_told(whole):
    assert (
        "900 training and 100 test images, fp32, on cpu, torch 2.9, commit 0123456789."
        in readme_parts(groups(whole))["results"]
    )
    path = whole / "shapes/train/resnet_small"
    (path / "metrics.json").write_text(json.dumps(metrics(0.9) | {"n_train": 1800, "precision": "bf16"}))
    (path / "provenance.json").write_text(json.dumps(PROVENANCE | {"device": "cuda"}))
    words = "900 or 1,800 training and 100 test images, fp32 or bf16, on cpu or cuda, torch 2.9, commit 0123456789."
    assert words in readme_parts(groups(whole))["results"]


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


def test_a_networks_accuracy_stands_beside_its_cost(whole):
    table = accuracy_table(groups(whole))
    names = ["network", "test top-1 [%]", "seeds", "parameters", "multiply–adds", "epochs", "precision"]
    assert table.startswith(f"| {' | '.join([*names, 'training images/s', 'minutes'])} |\n")
    assert "| `fa_cnn` | 90.00 | 1 | 1.00 M | 30.0 M | 2 | fp32 | 400 | 1.0 |" in table
    assert table in report(groups(whole), whole)


def test_seeds_on_busy_and_idle_machines_are_told_with_their_least_and_most(whole):
    other = metrics(0.92) | {"images_per_second": 150.4, "seconds": 126, "precision": "bf16"}
    make_run(whole / "shapes", "train", "fa_cnn-seed1", metrics=other)
    table = accuracy_table(groups(whole))
    assert "| `fa_cnn` | 91.00 ± 1.41 | 2 | 1.00 M | 30.0 M | 2 | bf16 or fp32 | 150–400 | 1.0–2.1 |" in table


def test_proofs_are_told_with_their_largest_errors(whole):
    def told():
        (group,) = groups(whole)
        return proof_table(group).splitlines()

    assert "| `fa_cnn` | yes, 1.0e-16 | yes, 0.98 | 0.71 | yes |" in told()
    assert "| `fa_cnn_linear_head` | **no**, 5.0e-01 | yes, 0.98 | 0.71 | yes |" in told()
    assert "| `resnet_small` | **no**, 5.0e-01 | – | – | – |" in told()
    path = whole / "shapes/verify-gradcam/fa_cnn"
    for file, row in (("identity.csv", 1), ("morphing.csv", 2), ("decomposition.csv", 1)):
        table = pd.read_csv(path / file)
        table.loc[row, "holds"] = False
        table.to_csv(path / file, index=False)
    identity = pd.read_csv(path / "identity.csv").assign(max_rel_error=[2e-16, 1e-3])  # float64's and float32's
    identity.to_csv(path / "identity.csv", index=False)
    assert "| `fa_cnn` | **no**, 2.0e-16 | **no**, 0.98 | 0.71 | **no** |" in told()


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
        | around("minus_random", 0.5, 0.1)
        | around("minus_center", 0.0, 0.1)
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
    words = "is not beaten beyond the interval of the paired difference by"
    warned = "\n".join(
        f"- `fa_cnn`: {title}: the control `center` ({value}) {words} `feature_map` ({value})."
        for title, value in (("Energy", "0.500"), ("Grid pointing game", "0.750"))
    )
    assert f"scores.\n\n{warned}\n\n| network | measure |" in page  # before anything is ranked
    beaten = [line | around("minus_center", 0.2, 0.1) for line in lines]
    pd.DataFrame(beaten).to_csv(whole / "shapes/benchmark-localization/fa_cnn/localization.csv", index=False)
    assert "not beaten" not in told() and "scores.\n\n| network | measure |" in told()


def test_what_is_said_to_be_made_again_is_in_the_script_and_what_is_made_apart_is_not():
    again, apart = WRITTEN.split("Made apart are ")
    script = (Path(__file__).parents[1] / "scripts/reproduce.sh").read_text()
    for word, command in (("trainings", "train"), ("checks", "verify-gradcam")):
        assert word in again and f'"$fa_repro" {command} ' in script
    for measure in ("removal", "localization", "sanity"):
        assert measure in again and f'"$fa_repro" benchmark-{measure} ' in script
    for word, made_by in (
        ("benchmark-speed", "benchmark-speed"),
        ("make peers", "compare_peers"),
        ("again/", "again/"),
        ("NAME-1000", "-1000"),
        ("NAME-bf16", "bf16"),
    ):
        assert word in apart and word not in again and made_by not in script


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
    assert f"| `fa_cnn` ‡ | mean | 100 | 0.75 [0.73, 0.77] | – | {equal} † | {equal} | {equal} | {equal} |" in page
    assert "| `fa_cnn` ‡ | zero | 100 |" in page and "| `resnet_small` ‡ | mean | 100 | – | 0.50 [0.48, 0.52] |" in page
    table.drop(columns="minus_center_low").assign(share_of_occlusion=None).to_csv(path, index=False)
    assert "| `fa_cnn` ‡ | mean | 100 | – † | – | – † |" in removal_part(
        whole
    )  # what isn't known isn't taken for granted


def test_variants_of_a_benchmark_are_in_the_report_and_not_in_the_readme(whole):
    removal(whole / "shapes", "fa_cnn-nearest", {"feature_map": 0.3, "occlusion": 0.4}, {"feature_map": 0.75})
    assert "| `fa_cnn-nearest` ‡ | mean |" in report(groups(whole), whole)
    readme = readme_parts(groups(whole))["results"]
    assert "| `fa_cnn` ‡ | mean | 100 |" in readme and "fa_cnn-nearest" not in readme


def test_seeds_stand_alone_in_the_report_and_together_in_the_readme(whole):
    areas = {"feature_map": 0.3, "occlusion": 0.4}
    removal(whole / "shapes", "fa_cnn-seed1", areas, {"feature_map": 0.65})
    assert "| `fa_cnn-seed1` ‡ | mean | 100 | 0.65 [0.63, 0.67] |" in report(groups(whole), whole)
    readme = readme_parts(groups(whole))["results"]
    assert "| `fa_cnn` ‡ | mean | 100, 2 seeds | 0.70 ± 0.07 [0.63, 0.77] |" in readme and "fa_cnn-seed1" not in readme
    removal(whole / "shapes", "fa_cnn-seed2", {"occlusion": 0.4}, {})
    assert "| 100, 3 seeds | 0.70 ± 0.07 [0.63, 0.77] (2 of 3) |" in readme_parts(groups(whole))["results"]
    shutil.rmtree(whole / "shapes/benchmark-removal/fa_cnn-seed2")
    path = whole / "shapes/benchmark-removal/fa_cnn-seed1/differences.csv"
    pd.read_csv(path).assign(minus_center_low=-0.1).to_csv(path, index=False)  # of one seed of two
    assert "| 100, 2 seeds | 0.70 ± 0.07 [0.63, 0.77] † |" in readme_parts(groups(whole))["results"]


def test_a_benchmark_of_several_trainings_counts_as_many_where_there_is_none_of_each(whole):
    for path in list((whole / "shapes").glob("*/*")):
        path.rename(path.with_name(f"shapes-{path.name}-seed0"))
    before = verdicts(whole)
    benchmarks = whole / "shapes/benchmark-removal"
    alone, together = benchmarks / "shapes-fa_cnn-seed0", benchmarks / "shapes-fa_cnn-seeds0-1-2"
    shutil.copytree(alone, together)
    path = together / "differences.csv"
    pd.read_csv(path).assign(seeds=3, share_of_occlusion_sd=0.04).to_csv(path, index=False)
    joint = "| mean | 100, 3 seeds | 0.75 ± 0.04 [0.73, 0.77] |"
    assert f"| `fa_cnn-seeds0-1-2` ‡ {joint}" in report(groups(whole), whole)
    assert "| `fa_cnn` ‡ | mean | 100 | 0.75 [0.73, 0.77] |" in readme_parts(groups(whole))["results"]
    shutil.rmtree(alone)
    assert verdicts(whole) == before
    assert f"| `fa_cnn` ‡ {joint}" in readme_parts(groups(whole))["results"]


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
    assert pictures and set(pictures) <= set(re.findall(r"\]\(([^)]+\.png)\)", page))
    linked = re.findall(r"\]\(([^)]+)\)", page)
    assert linked and [link for link in linked if not (whole / link).is_file()] == []


def test_real_data_come_before_the_embedded_set_which_the_readme_takes_for_the_claims_alone(whole):
    make_run(whole / "zoo", "train", "fa_cnn", metrics=metrics(0.5))
    verify(whole / "zoo", "fa_cnn")
    found = groups(whole)
    assert [group.name for group in found] == ["zoo", "shapes"]
    page = readme_parts(found)["results"]
    assert "- **zoo**: 900 training" in page and "- **shapes**" not in page
    assert "| `fa_cnn` | 50.00 |" in page and "| `resnet_small` | 90.50 |" not in page
    assert "|  | claim | zoo | shapes |" in page
    (identity,) = (line for line in page.splitlines() if line.startswith("| C2 |"))
    (accuracy,) = (line for line in page.splitlines() if line.startswith("| C4 |"))
    assert identity.endswith("| holds | holds |") and accuracy.endswith("| – | holds |")


def test_networks_of_several_groups_share_the_readmes_tables(whole):
    for group in ("zoo", "zoo-removal"):
        make_run(whole / group, "train", "fa_cnn", metrics=metrics(0.5))
        removal(whole / group, "fa_cnn", {"feature_map": 0.3, "occlusion": 0.4}, {"feature_map": 0.75})
    seen = {"trainer": {"augment": {"removal": 0.5}}}
    (whole / "zoo-removal/train/fa_cnn/config.yaml").write_text(json.dumps(seen))
    page = readme_parts(groups(whole))["results"]
    assert page.count("| trained as | network |") == 2
    for group, mark in (("zoo", " ‡"), ("zoo-removal", "")):  # whether holes are foreign to the network
        assert f"| {group} | `fa_cnn` | 50.00 |" in page and f"| {group} | `fa_cnn`{mark} | mean | 100 | 0.75" in page
    assert "trained as" not in report(groups(whole), whole)


def test_runs_under_their_default_names_are_their_networks(whole, tmp_path):
    expected = verdicts(whole)
    for path in list((whole / "shapes").glob("*/*")):
        path.rename(path.with_name(f"cifar10-{path.name}-seed0"))
    make_run(whole / "shapes", "train", "cifar10-fa_cnn-seed1", metrics=metrics(0.94))
    for what in ("training", "explanation"):  # the speeds' default names begin with what was timed
        make_run(whole / "shapes", "benchmark-speed", f"{what}-cifar10-fa_cnn-seed0")
    assert verdicts(whole) == expected
    timed = ["explanation-cifar10-fa_cnn-seed0", "training-cifar10-fa_cnn-seed0"]
    assert list(groups(whole)[0].runs["benchmark-speed"]) == timed
    (group,) = groups(whole)
    assert group.top1("fa_cnn") == pytest.approx(0.92) and len(group.networks["resnet_small"]) == 1
    make_run(
        whole / "shapes", "train", "shapes-fa_cnn-seed0", metrics=metrics(0.1)
    )  # of two data sets: their own names
    assert set(groups(whole)[0].networks) >= {"cifar10-fa_cnn", "shapes-fa_cnn"}


def test_what_wants_a_gpu_is_said_not_to_have_run(whole):
    large = "_gpu model=fa_cnn_large,resnet18`"
    others = f"`experiment=fashion_mnist{large}, `experiment=imagenette_gpu model=fa_cnn,resnet_whitened,resnet18`."
    assert f"with 3 seeds, as they want a GPU: `experiment=cifar10{large}, {others}" in report(groups(whole), whole)
    for seed in ("", "-seed1", "-seed2"):
        assert f"`experiment=cifar10{large}" in report(groups(whole), whole)
        make_run(whole / "cifar10-gpu", "train", f"fa_cnn_large{seed}", metrics=metrics(0.9))
    (whole / "shapes").rename(whole / "cifar10")
    assert (
        "`experiment=imagenette_gpu model=" in readme_parts(groups(whole))["results"]
    )  # without the embedded set, too
    (whole / "cifar10").rename(whole / "shapes")
    half = f": `experiment=cifar10_gpu model=resnet18`, {others}"
    assert half in report(groups(whole), whole) and half in readme_parts(groups(whole))["results"]
    for seed in ("", "-seed1", "-seed2"):
        make_run(whole / "cifar10-gpu", "train", f"resnet18{seed}", metrics=metrics(0.9))
    assert f": {others}" in report(groups(whole), whole)


def test_a_table_beside_the_runs_is_no_run(whole):
    """Such as the comparison with other libraries, results/peers/provenance.json."""
    (whole / "peers").mkdir()
    (whole / "peers" / "provenance.json").write_text(json.dumps(PROVENANCE))
    assert [group.name for group in groups(whole)] == ["shapes"]


def test_the_readme_keeps_everything_outside_the_marks():
    begin, end = marks("answers")
    assert replace_part(f"above {begin} old {end} below", "answers", "new") == f"above {begin}\n\nnew\n\n{end} below"
    for other in ("no marks", " ".join(marks("results")), begin, f"{end} {begin}"):
        assert replace_part(other, "answers", "new") is None


def test_a_damaged_table_is_one_line(whole, monkeypatch, capsys):
    from fa_repro.cli import main

    (whole / "shapes/verify-gradcam/fa_cnn/identity.csv").write_bytes(b"\x00\xff\xfe")
    monkeypatch.setattr("sys.argv", ["fa-repro", "report", f"results={whole}"])
    with pytest.raises(SystemExit) as left:
        main()
    error = capsys.readouterr().err
    assert left.value.code == 2
    assert error.count("\n") == 1 and "identity.csv" in error


def test_the_command_writes_the_report_and_the_readme(whole, monkeypatch, capsys, tmp_path):
    from fa_repro.cli import main

    def run(text):
        readme = tmp_path / "README.md"
        readme.write_text(text)
        monkeypatch.setattr("sys.argv", ["fa-repro", "report", f"results={whole}", f"readme={readme}"])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code, readme.read_text()

    first, second = ("\n".join(marks(name)) for name in PARTS)
    code, text = run(f"# title\n{first}\nbetween\n{second}\nrest\n")
    assert code == 0 and "## shapes" in (whole / "REPORT.md").read_text()
    answers, results = text.split("between")
    assert "Is it true?" in answers and "| `fa_cnn` | 90.00 |" in results and results.endswith("rest\n")
    # What can't be filled is found out before anything is written.
    (whole / "REPORT.md").unlink()
    before = f"# title\n{first}\n"
    assert run(before) == (2, before)
    assert "has no part between <!-- results:" in capsys.readouterr().err
    (tmp_path / "README.md").unlink()
    (tmp_path / "README.md").mkdir()
    monkeypatch.setattr("sys.argv", ["fa-repro", "report", f"results={whole}", f"readme={tmp_path / 'README.md'}"])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2 and "README.md: can't be read (" in capsys.readouterr().err
    assert not (whole / "REPORT.md").exists()


def test_seeds_of_a_network_are_one_line_with_their_mean_and_spread(whole):
    for seed, top1 in ((1, 0.88), (2, 0.92)):
        make_run(whole / "shapes", "train", f"fa_cnn-seed{seed}", metrics=metrics(top1))
    page = report(groups(whole), whole)
    # 90, 88 and 92: a mean of 90, and squares of 0, 4 and 4 over 2 degrees of freedom.
    assert "| `fa_cnn` | 90.00 ± 2.00 | 3 |" in page and "`fa_cnn-seed1` | 8" not in page
    assert "90.00 % of `fa_cnn` against 90.50 % of `resnet_small`" in page and "seeds: 3 and 1" in page
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
