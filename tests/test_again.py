"""Trainings that ran twice: held against the spread of their row."""

import json
import math

import pytest

from fa_repro.reporting.again import again_table, is_again, pairs
from fa_repro.reporting.collect import groups
from made_runs import make_run, metrics


def row(root, **top1):
    for name, value in top1.items():
        make_run(root, "train", name.replace("_seed", "-seed"), metrics=metrics(value))


@pytest.mark.parametrize(("second", "answer"), [(0.922, True), (0.918, True), (0.9221, False), (0.9179, False)])
def test_a_result_comes_out_again_within_two_standard_deviations_of_its_row(tmp_path, second, answer):
    # 91.9, 92.0 and 92.1 %: mean 92.0, standard deviation 0.1.
    row(tmp_path / "cifar10", fa_cnn=0.919, fa_cnn_seed1=0.920, fa_cnn_seed2=0.921)
    row(tmp_path / "again" / "cifar10", fa_cnn=second + (1e-9 if second < 0.92 else -1e-9))
    (pair,) = pairs(groups(tmp_path))
    assert (pair.group, pair.first.name, pair.second.name) == ("cifar10", "fa_cnn", "fa_cnn")
    assert pair.came_out is answer and pair.off == pytest.approx(2.0 if answer else 2.1)


def test_chance_of_a_result_beyond_two_deviations_of_a_row(tmp_path):
    # One more draw differs from the mean of n by s sqrt(1 + 1/n) t of n - 1. With one degree of freedom t is Cauchy's,
    # with two P(|t| > x) = 1 - x / sqrt(x^2 + 2).
    row(tmp_path / "cifar10", fa_cnn=0.9, fa_cnn_seed1=0.91, resnet_small=0.9)
    row(tmp_path / "cifar10", resnet_small_seed1=0.91, resnet_small_seed2=0.92, fa_cnn_fine=0.9)
    row(tmp_path / "again" / "cifar10", fa_cnn=0.9, resnet_small=0.9, fa_cnn_fine=0.9)
    x = 2 / (4 / 3) ** 0.5
    chances = {pair.first.name: pair.chance for pair in pairs(groups(tmp_path))}
    assert chances == {
        "fa_cnn": pytest.approx(1 - 2 / math.pi * math.atan(2 / 1.5**0.5)),
        "resnet_small": pytest.approx(1 - x / (x * x + 2) ** 0.5),
        "fa_cnn_fine": None,
    }


def test_a_row_of_one_training_tells_no_spread(tmp_path):
    row(tmp_path / "cifar10", fa_cnn=0.919)
    row(tmp_path / "again" / "cifar10", fa_cnn=0.5, resnet_small=0.6)  # the second has no first
    (pair,) = pairs(groups(tmp_path))
    assert pair.came_out is None
    table = again_table(groups(tmp_path))
    assert "| cifar10 | `fa_cnn` | 91.90 (cpu, fp32) | 50.00 (cpu, fp32) | 91.90 | – | – |" in table
    assert "resnet_small" not in table


def test_runs_under_their_default_names_and_of_other_words_are_told_apart(tmp_path):
    for place in (tmp_path / "cifar10", tmp_path / "again" / "cifar10"):
        row(place, **{"cifar10-fa_cnn_seed0": 0.9, "cifar10-fa_cnn_seed1": 0.9})
    other = tmp_path / "again" / "cifar10" / "train" / "cifar10-fa_cnn-seed1"
    assert [pair.second.name[-5:] for pair in pairs(groups(tmp_path))] == ["seed0", "seed1"]
    for trainer, count in (({"compile": "always", "augment": {"cutout": 0}}, 2), ({"epochs": 1}, 1)):
        (other / "config.yaml").write_text(json.dumps({"trainer": trainer}))
        assert len(list(pairs(groups(tmp_path)))) == count


def test_a_training_may_be_made_again_more_than_once_each_time_under_a_longer_name(tmp_path):
    row(tmp_path / "cifar10", fa_cnn=0.919, fa_cnn_seed1=0.921, fa_cnn_fine=0.9)
    again = {"fa_cnn": 0.91, "fa_cnn-xeon": 0.92, "fa_cnn-seed1-xeon": 0.92, "fa_cnn_local": 0.8, "fa_cnn_fin": 0.9}
    row(tmp_path / "again" / "cifar10", **again)
    found = {pair.second.name: (pair.first.name, len(pair.row)) for pair in pairs(groups(tmp_path))}
    assert found == {"fa_cnn": ("fa_cnn", 2), "fa_cnn-seed1-xeon": ("fa_cnn-seed1", 2), "fa_cnn-xeon": ("fa_cnn", 2)}
    other = tmp_path / "again" / "cifar10" / "train" / "fa_cnn-xeon" / "config.yaml"
    other.write_text(json.dumps({"trainer": {"epochs": 1}}))
    assert "fa_cnn-xeon" not in [pair.second.name for pair in pairs(groups(tmp_path))]


def test_a_run_named_as_another_would_be_called_keeps_its_own_name(tmp_path):
    row(tmp_path / "cifar10", **{"cifar10-fa_cnn_seed0": 0.8, "cifar10-fa_cnn_seed1": 0.7, "fa_cnn": 0.9})
    (group,) = groups(tmp_path)
    assert set(group.runs["train"]) == {"cifar10-fa_cnn-seed0", "fa_cnn-seed1", "fa_cnn"}


def test_the_report_shows_second_runs_in_a_table_of_their_own(cli, tmp_path):
    row(tmp_path / "cifar10", fa_cnn=0.919, fa_cnn_seed1=0.921)
    assert cli("report", f"results={tmp_path}").code == 0
    assert "Run again" not in (tmp_path / "REPORT.md").read_text()
    row(tmp_path / "again" / "cifar10", fa_cnn_seed1=0.5)
    assert [is_again(group) for group in groups(tmp_path)] == [True, False]
    assert cli("report", f"results={tmp_path}").code == 0
    page = (tmp_path / "REPORT.md").read_text()
    first, second, of_row = "92.10 (cpu, fp32)", "50.00 (cpu, fp32)", "92.00 ± 0.14 (2)"
    assert f"| cifar10 | `fa_cnn-seed1` | {first} | {second} | {of_row} | **no** (297.0) | 35 % |" in page
    assert "## again/cifar10" not in page and page.count("| `fa_cnn` |") == 1
