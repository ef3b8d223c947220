"""The script that runs other libraries beside ours: what it compares, what it writes, what it refuses."""

import json
from importlib.util import find_spec

import pandas as pd
import pytest
import torch

import compare_peers
from comparisons import patches
from fa_repro.checkpoint import Checkpoint
from fa_repro.data.shapes import CLASSES
from fa_repro.files import digest
from fa_repro.models import Task, build_model
from tiny import RESNET

TASK = Task(len(CLASSES), 3, 16, [0.4] * 3, [0.3] * 3)
INSTALLED = [name for name in compare_peers.PEERS if find_spec(name)]


@pytest.fixture
def checkpoint(tmp_path):
    torch.manual_seed(0)
    data = {"name": "shapes", "root": None, "download": False, "n_train": 20, "n_test": 20, "image_size": 16}
    data |= {"mirror": True, "cache": str(tmp_path / "cache"), "seed": 0}
    state = build_model(RESNET, TASK).state_dict()
    made = Checkpoint(RESNET, TASK._asdict(), list(CLASSES), state, data, {}, 0)
    path = tmp_path / "checkpoint.pt"
    with path.open("wb") as file:
        made.save(file)
    return path


def _words(checkpoint, *more):
    return ["--checkpoint", str(checkpoint), "--n-images", "3", "--rounds", "1", "--batch-size", "2", *more]


@pytest.mark.skipif(not INSTALLED, reason="none of the libraries is installed")
def test_a_run_finds_agreement_and_writes_three_files(checkpoint, tmp_path, capsys):
    out = tmp_path / "results" / "peers"
    words = _words(checkpoint, "--out", str(out))
    assert compare_peers.main(words) == 0
    assert {path.name for path in out.iterdir()} == {"table.csv", "table.md", "provenance.json"}
    table = pd.read_csv(out / "table.csv")
    pairs = {"torchcam": 2, "quantus": 1, "pytorch_grad_cam": 5, "captum": 3}
    assert len(table) == sum(pairs[name] for name in INSTALLED)
    assert table.agree.all() and (table.largest_difference <= table.limit).all() and (table.images == 3).all()
    assert (table[["ours_per_second", "theirs_per_second", "ratio"]] > 0).all(axis=None)
    shown = (out / "table.md").read_text()
    assert shown == capsys.readouterr().out[:-1]
    assert shown.count("| yes |") == len(table)
    for package, name in compare_peers.PEERS.items():
        assert (f"- {name} is not installed" in shown) == (package not in INSTALLED)
    told = json.loads((out / "provenance.json").read_text())
    assert told["inputs"] == {"checkpoint": digest(checkpoint)} and (told["exit_code"], told["seed"]) == (0, 0)
    assert told["command"].startswith("python scripts/compare_peers.py --checkpoint")
    assert all(compare_peers.PEERS[name] in told["packages"] for name in INSTALLED)


@pytest.mark.skipif("captum" not in INSTALLED, reason="captum is not installed")
def test_a_difference_beyond_its_limit_is_an_answer_of_no(checkpoint, tmp_path, monkeypatch, capsys):
    ours = patches.occlusion
    monkeypatch.setattr(patches, "occlusion", lambda *words: 1.001 * ours(*words))
    monkeypatch.setattr(compare_peers, "find_spec", lambda name: name == "captum" or None)
    assert compare_peers.main(_words(checkpoint, "--out", str(tmp_path / "no"))) == 1
    table = pd.read_csv(tmp_path / "no" / "table.csv").set_index("theirs")
    assert table.agree.to_dict() == {
        "captum LayerGradCam": True,
        "captum Occlusion": False,
        "captum FeaturePermutation": True,
    }
    assert table.largest_difference["captum Occlusion"] == pytest.approx(1e-3, rel=0.1)
    assert capsys.readouterr().out.count("| NO |") == 1
    assert json.loads((tmp_path / "no" / "provenance.json").read_text())["exit_code"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--checkpoint", "missing.pt"], "missing.pt"),
        (["--n-images", "1"], "two images"),
        (["--data-root", "nowhere"], "nowhere"),
    ],
)
def test_what_cant_be_used_costs_a_line(checkpoint, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    if "--data-root" in words:
        content = torch.load(checkpoint, weights_only=True)
        content["data"] |= {"name": "image_folder"}
        torch.save(content, checkpoint)
    assert compare_peers.main([*_words(checkpoint), *words, "--out", str(tmp_path / "none")]) == 2
    said = capsys.readouterr()
    assert said.out == "" and message in said.err and said.err.count("\n") == 1
    assert not (tmp_path / "none").exists()


def test_without_any_library_there_is_nothing_to_compare(checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(compare_peers, "find_spec", lambda name: None)
    assert compare_peers.main(_words(checkpoint, "--out", str(tmp_path / "none"))) == 2
    assert "fa-repro[peers]" in capsys.readouterr().err and not (tmp_path / "none").exists()


@pytest.mark.parametrize("words", [["--rounds", "0"], ["--batch-size", "0"], ["--seed", "-1"]])
def test_a_number_out_of_range_is_refused(checkpoint, capsys, words):
    with pytest.raises(SystemExit) as left:
        compare_peers.main([*_words(checkpoint), *words])
    assert left.value.code == 2 and f"{words[0]} must be" in capsys.readouterr().err
