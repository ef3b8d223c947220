"""Searches in the report: a table and a figure of each, which outlive its runs."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from fa_repro.reporting.collect import groups
from fa_repro.reporting.search import COLUMNS, draw, searched
from made_runs import make_run, metrics, removal


def tried(root, name, val_top1, model="fa_cnn", macs=40_000_000, removal=0.0, locality=0.0):
    run = root / "search" / "cifar10"
    make_run(run, "train", name, metrics=metrics(0.1) | {"val_top1": val_top1, "macs": macs})
    trainer = {"lr": 0.1, "locality": locality, "augment": {"crop": 2, "removal": removal}}
    config = {"model": {"name": model, "depth": [2, 1]}, "trainer": trainer, "seed": 0}
    (run / "train" / name / "config.yaml").write_text(json.dumps(config))


def test_a_search_becomes_a_table_and_a_figure(cli, tmp_path):
    tried(tmp_path, "b", 0.5)
    tried(tmp_path, "a", 0.7, "resnet_small", 20_000_000)
    assert cli("report", f"results={tmp_path}").code == 0
    table = pd.read_csv(tmp_path / "search" / "cifar10.csv")
    assert list(table.columns) == COLUMNS
    assert table.name.tolist() == ["a", "b"] and table.val_top1.tolist() == [0.7, 0.5]
    assert table.config[1] == "depth=[2,1] lr=0.1 locality=0.0 augment.crop=2 augment.removal=0.0"
    assert (tmp_path / "search" / "cifar10.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "REPORT.md").read_text()
    assert page.index("| `a` | 70.0 | 1.00 M | 20.0 M | 400 |\n") < page.index("| `b` | 50.0 |")
    assert "trained with removal" not in page
    assert "cifar10: **" not in page  # no claim is judged by a search
    assert "10.0" not in page  # the test accuracy of a variant is nobody's business


def test_a_variants_own_map_is_judged_on_validation_images_alone(cli, tmp_path):
    for name, model, method in (
        ("a", "fa_cnn", "feature_map"),
        ("b", "resnet_small", "grad_cam"),
        ("c", "fa_cnn", "random"),
    ):
        tried(tmp_path, name, 0.5, model, removal=0.5, locality=1.0)
        removal(tmp_path / "search" / "cifar10", name, {method: 0.2, "occlusion": 0.4}, {method: 0.5})
    for names, expected in (("", [None, None, None]), ("abc", [0.5, 0.5, None])):
        for name in names:
            path = tmp_path / "search" / "cifar10" / "benchmark-removal" / name / "config.yaml"
            path.write_text(json.dumps({"split": "val"}))
        assert cli("report", f"results={tmp_path}").code == 0
        table = pd.read_csv(tmp_path / "search" / "cifar10.csv")
        assert [None if pd.isna(share) else share for share in table.share_of_occlusion] == expected
    page = (tmp_path / "REPORT.md").read_text()
    assert "| `a` | 50.0 | 1.00 M | 40.0 M | 400 | 1 | 0.50 |" in page
    assert "| `c` | 50.0 | 1.00 M | 40.0 M | 400 | 1 | – |" in page
    assert table.removal.tolist() == [0.5] * 3 and table.locality.tolist() == [1.0] * 3


def test_variants_that_saw_removal_are_drawn_apart(tmp_path):
    tried(tmp_path, "a", 0.7)
    tried(tmp_path, "b", 0.6, removal=0.5, locality=1.0)
    tried(tmp_path, "c", 0.5, "resnet_small", removal=0.5)
    (table,) = searched(tmp_path, groups(tmp_path)).values()
    assert len(draw(table).axes) == 2  # no map was judged
    cost, _, faith = draw(table.assign(share_of_occlusion=[np.nan, 0.9, np.nan])).axes
    drawn = [line.get_xydata().tolist() for line in cost.lines]
    assert drawn == [[[40.0, 70.0]]]
    (occlusion, b) = faith.lines
    assert occlusion.get_ydata()[0] == 1
    assert b.get_xydata().tolist() == [[60.0, 0.9]] and b.get_markerfacecolor() == b.get_color()
    faith = draw(table.assign(share_of_occlusion=[np.nan, 0.9, 0.4])).axes[2]
    assert faith.lines[2].get_markerfacecolor() == "none"


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
