"""``fa-repro verify-gradcam`` from its words to its files and exit code."""

import json

import pandas as pd
import pytest
import torch
from PIL import Image

from fa_repro.checkpoint import Checkpoint
from fa_repro.data.shapes import CLASSES
from fa_repro.models import Task, build_model
from refusals import one_line
from tiny import FA_CNN, ONE_STAGE

SHAPES = ("data=shapes", "data.n_train=40", "data.n_test=20")
TINY = (
    "model=fa_cnn",
    "model.blocks=[1,1]",
    "model.hidden=[4,4]",
    "model.pool=[1,2]",
    "model.squeeze=[4,4]",
    "model.depth=[1,1]",
    "model.shrink=[1,1]",
)
IDENTITY = "model,target,dtype,reference,images,maps,max_abs_error,max_rel_error,tolerance,holds"
MORPHING = "layer,alpha,relative_change,bound,cosine_to_previous,cosine_to_last,holds"
DECOMPOSITION = "dtype,part,mean_over_classes,share_of_logit,max_abs_error,max_rel_error,tolerance,holds"


@pytest.fixture
def verify(cli, cache, tmp_path):
    def run(*words):
        return cli("verify-gradcam", *words, cache, f"results={tmp_path}", "name=a", "device=cpu")

    run.folder = tmp_path / "verify-gradcam"
    return run


@pytest.fixture
def undrawn(monkeypatch):
    """No figures, where they are not what is tested."""
    monkeypatch.setattr("fa_repro.commands.verify_gradcam._draw", lambda *_: None)


def answers(out):
    """The claims and what is said of them."""
    lines = [line.split(maxsplit=2) for line in out.splitlines() if line.strip().startswith(("YES", "NO"))]
    return {claim: answer for answer, claim, _ in lines}


def checkpoint(path, n_classes=10, in_channels=3, names=CLASSES, **data):
    task = Task(n_classes, in_channels, 32, [0.5] * in_channels, [0.25] * in_channels)
    model = FA_CNN | ONE_STAGE | {"alpha": 0.25, "maps_per_class": 3, "unshuffle": 2, "blocks": [2], "scale": 5.0}
    torch.manual_seed(5)
    state = build_model(model, task).state_dict()
    shapes = {"name": "shapes", "root": None, "download": False, "n_train": 40, "n_test": 20, "image_size": 32}
    shapes |= {"mirror": True, "cache": None, "seed": 0} | data
    trainer = {"augment": {"crop": 0, "flip": True, "removal": 0.0}}
    with path.open("wb") as file:
        Checkpoint(model, task._asdict(), list(names[:n_classes]), state, shapes, trainer, 5).save(file)
    return path


# YES


@pytest.mark.slow
def test_fa_cnn_is_verified(verify):
    code, out, err = verify(*TINY, *SHAPES, "n_images=4")
    assert code == 0, err
    assert answers(out) == {"T1": "YES", "T2": "YES", "T3": "YES"}
    assert out.splitlines()[0] == "fa_cnn, 4 images of 10 classes:"

    folder = verify.folder / "a"
    assert (folder / "identity.csv").read_text().splitlines()[0] == IDENTITY
    table = pd.read_csv(folder / "identity.csv")
    assert len(table) == 2 * 2 * 10 and table.holds.all()
    assert set(table.dtype) == {"float64", "float32"} and set(table.reference) == {"autograd", "captum"}
    assert (table.images == 4).all() and set(table.maps) == {"class map"} and set(table.model) == {"fa_cnn"}
    assert table.groupby(["dtype", "reference"]).target.nunique().tolist() == [10] * 4
    assert (table.max_rel_error <= table.tolerance).all()
    assert (table[table.dtype == "float64"].max_rel_error < 1e-13).all()

    assert (folder / "morphing.csv").read_text().splitlines()[0] == MORPHING
    table = pd.read_csv(folder / "morphing.csv")
    assert table.layer.tolist() == ["stage1.block1", "stage2.block1"] and table.holds.all()
    assert (table.alpha == 0.5).all() and (table.relative_change <= table.bound).all()

    assert (folder / "decomposition.csv").read_text().splitlines()[0] == DECOMPOSITION
    table = pd.read_csv(folder / "decomposition.csv")
    parts = ["pixels", "stage1.block1", "stage2.block1", "sum of parts", "mean of depth map"]
    assert table.part.tolist() == parts * 2
    assert (table.holds.isna() == ~table.part.isin(parts[3:])).all() and table.holds.dropna().all()

    for picture in ("identity.png", "morphing.png"):
        with Image.open(folder / picture) as image:
            image.load()
            assert min(image.size) > 100
    done = json.loads((folder / "DONE.json").read_text())
    assert done["exit_code"] == 0
    assert {"identity.csv", "morphing.csv", "decomposition.csv", "identity.png", "morphing.png"} < set(done["files"])


@pytest.mark.parametrize("model", ["fa_cnn_undamped", "fa_cnn_plain"])
def test_ablations_that_keep_the_head_are_verified_too(verify, undrawn, model):
    code, out, _ = verify(f"model={model}", *TINY[1:], "model.maps_per_class=2", *SHAPES, "n_images=4")
    assert code == 0 and answers(out) == {"T1": "YES", "T2": "YES", "T3": "YES"}
    assert pd.read_csv(verify.folder / "a" / "morphing.csv").alpha.isna().all()


def test_checkpoint_is_verified_on_its_own_data(verify, undrawn, tmp_path):
    path = checkpoint(tmp_path / "checkpoint.pt")
    code, out, err = verify(f"checkpoint={path}", "n_images=3")
    assert code == 0, err
    assert answers(out) == {"T1": "YES", "T2": "YES", "T3": "YES"}
    table = pd.read_csv(verify.folder / "a" / "morphing.csv")
    assert table.layer.tolist() == ["stage1.block1", "stage1.block2"] and (table.alpha == 0.25).all()
    again, said, _ = verify(f"checkpoint={path}", "n_images=3")
    assert again == 0 and "already finished" in said
    checkpoint(path, n_classes=10, mirror=False)  # other bytes, another run
    assert "another" in one_line(verify(f"checkpoint={path}", "n_images=3"))


def test_more_images_than_there_are_takes_all(verify, undrawn):
    code, out, _ = verify(*TINY, "model.maps_per_class=2", *SHAPES, "n_images=50")
    assert code == 0 and "20 images" in out


def test_without_captum_our_own_reference_is_enough(verify, undrawn, monkeypatch):
    monkeypatch.setattr("fa_repro.commands.verify_gradcam.find_spec", lambda name: None)
    code, out, _ = verify(*TINY, "model.maps_per_class=2", *SHAPES, "n_images=2")
    assert code == 0 and "captum is not installed" in out
    assert set(pd.read_csv(verify.folder / "a" / "identity.csv").reference) == {"autograd"}


# NO


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("model=resnet_small", "model.blocks=[1,1,1]"), {"T1": "NO"}),
        (("model=fa_cnn_linear_head", *TINY[1:]), {"T1": "NO", "T2": "YES"}),
    ],
    ids=["resnet_small", "linear head"],
)
def test_identity_is_denied(verify, words, expected):
    code, out, _ = verify(*words, *SHAPES, "n_images=2")
    assert code == 1 and answers(out) == expected
    assert "no class maps" in out
    folder = verify.folder / "a"
    assert not pd.read_csv(folder / "identity.csv").holds.all()
    assert (folder / "identity.png").is_file()
    assert (folder / "morphing.png").is_file() is ("T2" in expected)
    assert not (folder / "decomposition.csv").exists()
    assert json.loads((folder / "DONE.json").read_text())["exit_code"] == 1


def test_identity_of_the_probability_is_denied(verify, undrawn):
    code, out, _ = verify(*TINY, *SHAPES, "n_images=2", "score=probability")
    assert code == 1 and answers(out) == {"T1": "NO", "T2": "YES", "T3": "YES"}
    assert "Grad-CAM of the probability" in out
    assert not pd.read_csv(verify.folder / "a" / "identity.csv").holds.any()


def test_a_denial_is_remembered(verify, undrawn, monkeypatch):
    words = ("model=resnet_small", "model.widths=[4,4]", "model.blocks=[1,1]", *SHAPES, "n_images=2")
    assert verify(*words)[0] == 1
    table = (verify.folder / "a" / "identity.csv").stat().st_mtime_ns
    monkeypatch.setattr("fa_repro.proofs.identity.check_identity", None)  # not to be called again
    code, out, _ = verify(*words)
    assert code == 1 and "already finished" in out
    assert (verify.folder / "a" / "identity.csv").stat().st_mtime_ns == table


def test_a_broken_morphing_is_denied(verify, undrawn, monkeypatch):
    monkeypatch.setattr("fa_repro.proofs.morphing.tolerance", lambda dtype: -1)  # no change at all is allowed
    code, out, _ = verify(*TINY, "model.maps_per_class=2", *SHAPES, "n_images=2")
    assert code == 1 and answers(out) == {"T1": "YES", "T2": "NO", "T3": "YES"}


def test_a_broken_decomposition_is_denied(verify, undrawn, monkeypatch):
    monkeypatch.setattr("fa_repro.proofs.decomposition.tolerance", lambda dtype: -1)
    code, out, _ = verify(*TINY, "model.maps_per_class=2", *SHAPES, "n_images=2")
    assert code == 1 and answers(out) == {"T1": "YES", "T2": "YES", "T3": "NO"}


# Refusals


def test_neither_checkpoint_nor_model_is_refused(verify):
    assert "checkpoint=PATH" in one_line(verify())


@pytest.mark.parametrize("words", [("model=fa_cnn",), SHAPES])
def test_model_and_data_are_needed_together(verify, words):
    assert "model=NAME and data=NAME" in one_line(verify(*words))


def test_checkpoint_and_model_are_refused(verify, tmp_path):
    path = checkpoint(tmp_path / "checkpoint.pt")
    assert "contradict" in one_line(verify(f"checkpoint={path}", "model=fa_cnn"))


def test_missing_checkpoint_is_refused(verify, tmp_path):
    assert "no such file" in one_line(verify(f"checkpoint={tmp_path}/nothing.pt"))


@pytest.mark.parametrize("content", [b"", b"no checkpoint", b"PK\x03\x04 cut off"])
def test_damaged_checkpoint_is_refused(verify, tmp_path, content):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content)
    assert str(path) in one_line(verify(f"checkpoint={path}"))


def test_cut_off_checkpoint_is_refused(verify, tmp_path):
    path = checkpoint(tmp_path / "checkpoint.pt")
    path.write_bytes(path.read_bytes()[:-200])
    assert "damaged" in one_line(verify(f"checkpoint={path}"))


@pytest.mark.parametrize(("n_classes", "in_channels"), [(4, 3), (10, 1)])
def test_data_that_does_not_fit_the_checkpoint_is_refused(verify, tmp_path, n_classes, in_channels):
    path = checkpoint(tmp_path / "checkpoint.pt", n_classes, in_channels)
    assert "trained on" in one_line(verify(f"checkpoint={path}"))


def test_images_of_another_size_are_refused(verify, tmp_path):
    path = checkpoint(tmp_path / "checkpoint.pt")
    assert "3x32x32" in one_line(verify(f"checkpoint={path}", "data.image_size=64"))


def test_data_of_other_classes_is_refused(verify, tmp_path):
    path = checkpoint(tmp_path / "checkpoint.pt", names=[f"other {k}" for k in range(10)])
    assert f"class 0 is other 0 for the model and {CLASSES[0]}" in one_line(verify(f"checkpoint={path}"))


@pytest.mark.parametrize("word", ["score=loss", "n_images=0", "model.alpha=1.5", "model.skip=dense"])
def test_unusable_values_are_refused(verify, word):
    assert word.split("=")[0] in one_line(verify(*TINY, *SHAPES, word))


def test_blocks_that_do_not_match_hidden_are_refused(verify):
    assert "model.hidden" in one_line(verify(*TINY, *SHAPES, "model.hidden=[4]"))


def test_images_that_the_model_cannot_shrink_are_refused(verify):
    assert "data.image_size" in one_line(verify(*TINY, *SHAPES, "model.unshuffle=5"))
