"""The front of accuracy and maps, of networks trained with removal: its table, its figure, its place in the report."""

import json

import pandas as pd

from fa_repro.reporting.collect import groups
from fa_repro.reporting.front import OPEN, draw, front
from fa_repro.reporting.page import PARTS, marks, report
from made_runs import make_run, metrics, removal


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
    readme.write_text("".join(mark for name in PARTS for mark in marks(name)))
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
    assert groups(whole)[0].removal_words == "" and not len(front(groups(whole)))


def test_a_mark_is_open_where_a_control_may_be_ahead_and_filled_where_none_is(tmp_path):
    """The control in the middle has an area of 0.1: see `removal`."""
    for name, area, top1 in (("fa_cnn", 0.3, 0.8), ("fa_cnn_local", 0.105, 0.7)):
        make_run(tmp_path / "gone", "train", name, metrics=metrics(top1))
        config = {"trainer": {"locality": 0.0, "augment": {"removal": 0.5}}}
        (tmp_path / "gone/train" / name / "config.yaml").write_text(json.dumps(config))
        removal(tmp_path / "gone", name, {"feature_map": area, "occlusion": 0.4}, {"feature_map": area})
    table = front(groups(tmp_path))
    assert dict(zip(table.network, table.behind, strict=True)) == {"fa_cnn": False, "fa_cnn_local": True}
    (axes,) = draw(table).axes
    (unbeaten, beaten), names = axes.get_legend_handles_labels()
    assert names == [f"1: gone, fa_cnn_local, feature map{OPEN}", "2: gone, fa_cnn, feature map"]
    assert unbeaten.lines[0].get_markerfacecolor() == beaten.lines[0].get_markeredgecolor() == "white"
    assert unbeaten.lines[0].get_markeredgecolor() == beaten.lines[0].get_markerfacecolor() != "white"
    seeds = tmp_path / "gone/benchmark-removal/fa_cnn-seed1"
    removal(tmp_path / "gone", seeds.name, {"feature_map": 0.3, "occlusion": 0.4}, {"feature_map": 0.3})
    assert not front(groups(tmp_path)).behind[0]
    lines = pd.read_csv(seeds / "differences.csv").assign(minus_random_low=0.0)  # of one seed of two
    lines.to_csv(seeds / "differences.csv", index=False)
    assert front(groups(tmp_path)).behind[0]
