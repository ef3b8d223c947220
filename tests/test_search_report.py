"""Searches in the report: a table and a figure of each, which outlive its runs."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from fa_repro.reporting.collect import groups
from fa_repro.reporting.page import search_section
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
    assert page.index("| `a` | 70.0 | 1.00 M | 20.0 M | fp32 | cpu | 400 |\n") < page.index("| `b` | 50.0 |")
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
    assert "| `a` | 50.0 | 1.00 M | 40.0 M | fp32 | cpu | 400 | 1 | 0.50 |" in page
    assert "| `c` | 50.0 | 1.00 M | 40.0 M | fp32 | cpu | 400 | 1 | – |" in page
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


@pytest.mark.parametrize(
    ("device", "short"),
    [
        ("cpu Intel(R) Xeon(R) Processor (x86_64), 1 thread", "Intel Xeon, 1 thread"),
        ("cpu AMD EPYC (x86_64), 2 threads", "AMD EPYC, 2 threads"),
        ("cpu arm64, 8 threads", "arm64, 8 threads"),
        ("cuda:0 NVIDIA H200", "cuda:0 NVIDIA H200"),
    ],
)
def test_speeds_stand_beside_what_they_were_measured_on(tmp_path, device, short):
    tried(tmp_path, "a", 0.7)
    (table,) = searched(tmp_path, groups(tmp_path)).values()
    page = "\n".join(search_section("cifar10", table.assign(device=device, precision="bf16")))
    assert "| precision | device | training images/s |" in page
    assert f"| bf16 | {short} | 400 |" in page


@pytest.mark.parametrize(
    ("macs", "expected"),
    [((12_500_000, 555_000_000), ["20", "50", "100", "200", "500"]), ((42_000_000, 46_000_000), ["42", "43", "44"])],
)
def test_costs_are_labelled_in_plain_numbers(tmp_path, macs, expected):
    for name, cost in zip("ab", macs, strict=True):
        tried(tmp_path, name, 0.5, macs=cost)
    (table,) = searched(tmp_path, groups(tmp_path)).values()
    fig = draw(table)
    fig.draw_without_rendering()
    axes = fig.axes[0]
    low, high = axes.get_xlim()
    ticks = [label for label in axes.get_xticklabels(which="both") if low <= label.get_position()[0] <= high]
    shown = [label.get_text() for label in ticks if label.get_text()]
    assert [words for words in expected if words not in shown] == [] and "$" not in "".join(shown)


def variants(root, *lines):
    """Return a search's table of variants that saw removal: (name behind the network's, val top-1, share), ..."""
    for name, val_top1, _ in lines:
        tried(root, f"cifar10-fa_cnn_local-seed0{name}", val_top1, "fa_cnn_local", removal=0.5)
    (table,) = searched(root, groups(root)).values()
    shares = {f"cifar10-fa_cnn_local-seed0{name}": share for name, _, share in lines}
    return table.assign(share_of_occlusion=table.name.map(shares))


def labels(axes):
    return {text.get_text(): text for text in axes.texts if text.get_text()}


def test_variants_of_a_network_are_labelled_by_what_is_changed(tmp_path):
    table = variants(
        tmp_path,
        ("-trainer.locality_0", 0.59, 0.97),
        ("-model.depth_2_1_", 0.60, 1.04),
        ("-model.maps_per_class_24-model.depth_2_1_", 0.63, 0.9),
        ("-model.depth_2_1_-seed1", 0.61, 1.0),  # another seed of a variant
    )
    table["config"] = [f"{words} maps_per_class=24" for words in table.config]
    *_, faith = draw(table).axes
    assert set(labels(faith)) == {"occlusion", "fa_cnn_local", "depth 2 1", "depth 2 1, maps per class 24"}
    assert labels(faith)["depth 2 1"].xy == (60.0, 1.04)  # the best seed's
    joined = [line.get_xydata().tolist() for line in faith.lines[1:] if len(line.get_xdata()) == 2]
    assert joined == [[[59.0, 0.97], [60.0, 1.04]], [[59.0, 0.97], [63.0, 0.9]]]
    *_, faith = draw(table[table.name.str.contains("maps")]).axes  # where the network itself is not shown
    assert set(labels(faith)) == {"occlusion", "fa_cnn_local, depth 2 1, maps per class 24"}


def test_labels_of_variants_run_into_nothing(tmp_path):
    changed = ("model.depth_2_1_", "trainer.lr_0.1", "trainer.augment.crop_2", "trainer.augment.removal_0.5")
    close = [(f"-{key}", 0.6 + i / 2000, 1.04) for i, key in enumerate(changed)]
    all_of_them = f"-{'-'.join(changed)}"  # too long a label for the room to the right of the last mark
    fig = draw(variants(tmp_path, ("", 0.59, 0.97), (all_of_them, 0.7, 0.5), *close))
    fig.draw_without_rendering()
    faith = fig.axes[2]
    texts = labels(faith).values()
    assert len(texts) == 7
    boxes = [text.get_window_extent() for text in texts]
    marks = [line.get_window_extent() for line in faith.lines if len(line.get_xdata()) == 1]
    for number, box in enumerate(boxes):
        assert not box.count_overlaps([*boxes[:number], *marks])
        assert faith.bbox.contains(*box.min) and faith.bbox.contains(*box.max)


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
