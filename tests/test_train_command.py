"""``fa-repro train`` from words to files: what it leaves, and what hangs on the seed."""

import json

import pandas as pd
import pytest
import torch
from PIL import Image

import fa_repro
from fa_repro.checkpoint import load_checkpoint
from fa_repro.data import load_data, stratified
from fa_repro.models import Task, build_model
from fa_repro.models.whitening import Whitening
from fa_repro.training import Trainer, evaluate
from networks import equal
from refusals import one_line
from training_runs import COLUMNS, EXACT, FILES, history, weights


def test_a_run_leaves_exactly_these_files(trained):
    assert {path.name for path in trained.iterdir()} == FILES
    assert set(json.loads((trained / "DONE.json").read_text())["files"]) == FILES - {".identity.json", "DONE.json"}


def test_history_has_a_row_for_each_epoch(trained):
    assert (trained / "history.csv").read_text().splitlines()[0] == ",".join(COLUMNS)
    table = history(trained)
    assert list(table.epoch) == [1, 2]
    assert table.notna().all(axis=None)
    assert table.val_top1.between(0, 1).all()
    assert (table[["train_loss", "val_loss", "images_per_second", "seconds"]] > 0).all(axis=None)
    # Two epochs of 180 // 50 = 3 steps, 1.5 of them warm-up: after 3 steps a third of the half cosine.
    assert list(table.lr) == pytest.approx([0.002 * 0.75, 0.0], abs=1e-12)


def test_metrics_by_hand(trained):
    metrics = json.loads((trained / "metrics.json").read_text())
    assert {"top1", "loss", "n_test", "parameters", "macs", "epochs", "images_per_second", "seconds"} <= set(metrics)
    assert (metrics["n_test"], metrics["n_train"], metrics["epochs"]) == (60, 180, 2)
    # Two blocks: 24 channels of whitened patches (fixed) -> 4 -> 30 maps by a 3x3 and a 1x1 convolution, and
    # 30 -> 4 -> 4 -> 30 by a 1x1, a 3x3, a 1x1; two numbers for each channel's norm; and the scale.
    first, second = 24 * 4 * 9 + 4 * 30 + 2 * (4 + 30), 30 * 4 + 4 * 4 * 9 + 4 * 30 + 2 * (4 + 4 + 30)
    assert metrics["parameters"] == first + second + 1
    # On maps of 16x16 and 8x8.
    assert metrics["macs"] == (
        32 * 32 * (12 * 24 + 24 * 4 * 9)  # at full resolution, before the max-pooling
        + 16 * 16 * 4 * 30
        + 8 * 8 * (30 * 4 + 4 * 4 * 9 + 4 * 30)
    )
    table = history(trained)
    assert metrics["images_per_second"] == pytest.approx(table.images_per_second.median())
    assert metrics["seconds"] == pytest.approx(table.seconds.sum(), abs=0.06)
    assert metrics["val_top1"] == table.val_top1.iloc[-1] != table.val_top1.iloc[0]  # the last epoch's, not another's


def test_the_checkpoint_scores_what_the_metrics_say(trained):
    metrics = json.loads((trained / "metrics.json").read_text())
    checkpoint = load_checkpoint(trained / "checkpoint.pt")
    test = load_data(checkpoint.data, "test")
    score = evaluate(fa_repro.load_model(trained / "checkpoint.pt"), test)
    assert score.top1 == metrics["top1"] and score.loss == pytest.approx(metrics["loss"], rel=1e-5)
    torch.manual_seed(1)
    fresh = build_model(checkpoint.model, Task(**checkpoint.task))
    assert evaluate(fresh, test).loss != pytest.approx(metrics["loss"], rel=1e-5)


def test_the_checkpoint_says_how_it_was_made(trained):
    checkpoint = load_checkpoint(trained / "checkpoint.pt")
    assert (checkpoint.seed, checkpoint.model["name"], checkpoint.data["name"]) == (0, "fa_cnn", "shapes")
    assert (checkpoint.trainer["epochs"], checkpoint.trainer["augment"]["flip"]) == (2, True)
    assert len(checkpoint.classes) == 10 and "crescent" in checkpoint.classes
    whole = load_data(checkpoint.data, "train")
    assert (checkpoint.task["mean"], checkpoint.task["std"]) == whole.statistics()
    # The pixels are whitened by what is learned from, without the images held out.
    learned = torch.ones(200, dtype=torch.bool)
    learned[stratified(whole.labels, 20, 0)] = False
    expected = Whitening(3)
    expected.fit(whole.select(learned).images)
    other = Whitening(3)
    other.fit(whole.images)
    found = [value for key, value in checkpoint.state.items() if key.endswith("directions")]
    assert len(found) == 1 and torch.equal(found[0], expected.directions)
    assert not torch.equal(expected.directions, other.directions)


def test_curves_is_a_picture(trained):
    with Image.open(trained / "curves.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 200
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert colours is not None and len(colours) > 20  # more than an empty page


def test_provenance_has_the_words_and_the_duration(trained):
    told = json.loads((trained / "provenance.json").read_text())
    assert told["command"].startswith("fa-repro train data.n_train=200 ") and "name=tiny" in told["command"]
    assert told["device"].startswith("cpu ") and told["exit_code"] == 0 and told["seed"] == 0
    assert told["seconds"] == json.loads((trained / "metrics.json").read_text())["seconds"]
    recorded, running = (version.partition("+")[0] for version in (told["packages"]["torch"], torch.__version__))
    assert recorded == running  # behind a plus, one of the two may have the build's name


def test_the_same_words_again_do_nothing(cli, tiny, trained):
    before = {path: path.stat().st_mtime_ns for path in trained.iterdir()}
    words = ("train", *tiny, f"results={trained.parent.parent}", "name=tiny")
    code, out, err = cli(*words)
    assert (code, err) == (0, "")
    assert "already finished" in out
    assert before == {path: path.stat().st_mtime_ns for path in trained.iterdir()}
    refusal = one_line(cli(*words, "trainer.lr=0.5"))
    assert "trainer.lr: 0.002 there, 0.5 here" in refusal and "overwrite=true" in refusal and "name=" in refusal
    assert before == {path: path.stat().st_mtime_ns for path in trained.iterdir()}


@pytest.mark.usefixtures("undrawn_curves")
def test_the_same_seed_gives_the_same_weights_and_another_does_not(cli, tiny, trained, workplace):
    assert cli("train", *tiny).code == 0
    assert cli("train", *tiny, "seed=1").code == 0
    same, other = (workplace / f"results/train/shapes-fa_cnn-seed{seed}" for seed in (0, 1))
    assert equal(weights(same), weights(trained))
    assert history(same)[EXACT].equals(history(trained)[EXACT])
    assert not equal(weights(other), weights(trained))
    assert not history(other)[EXACT].equals(history(trained)[EXACT])


def test_what_was_held_out_can_be_benchmarked(cli, tiny, trained, workplace):
    words = ["benchmark-removal", f"checkpoint={trained / 'checkpoint.pt'}", "split=val", "n_images=1000"]
    words += ["methods=[random]", "fractions=[0,1]", "bootstrap=100", "device=cpu"]
    answer = cli(*words)
    assert answer.code == 0, answer.err
    path = next((workplace / "results/benchmark-removal").iterdir())
    # The same images, if their accuracy is what training told of them.
    val_top1 = json.loads((trained / "metrics.json").read_text())["val_top1"]
    told = json.loads((path / "metrics.json").read_text())
    assert told["top1"] == [pytest.approx(100 * val_top1, abs=1e-4)] and " val images of shapes" in told["conditions"]
    rows = pd.read_csv(path / "per_image.csv.gz").image.unique()
    config = load_checkpoint(trained / "checkpoint.pt")
    labels = load_data(config.data, "train").labels
    share = config.trainer["val_fraction"]
    assert rows.tolist() == stratified(labels, round(share * len(labels)), config.seed).tolist()
    for more, said in (
        (["data=mnist", "data.root=."], "read as data=shapes"),
        (["data.seed=1"], "not the training images of the checkpoint"),
    ):
        assert said in one_line(cli(*words, *more, "name=other"))
    model = ["data=shapes", "model=fa_cnn", "split=val"]
    assert "Give checkpoint=PATH" in one_line(cli("benchmark-removal", *model, "name=other"))


@pytest.mark.usefixtures("undrawn_curves")
def test_overwrite_trains_anew(cli, tiny, workplace):
    words = ("train", *tiny, "trainer.epochs=1", "name=same")
    assert cli(*words).code == 0
    run = workplace / "results/train/same"
    before = weights(run)
    one_line(cli(*words, "seed=1"))
    assert equal(weights(run), before)
    code, out, _ = cli(*words, "seed=1", "overwrite=true")
    assert code == 0 and "already finished" not in out
    assert not equal(weights(run), before)
    assert "already finished" in cli(*words, "seed=1").out


def test_without_validation_images_the_columns_are_empty(cli, tiny, workplace):
    assert cli("train", *tiny, "trainer.val_fraction=0").code == 0
    run = workplace / "results/train/shapes-fa_cnn-seed0"
    assert {path.name for path in run.iterdir()} == FILES
    table = history(run)
    assert list(table.columns) == COLUMNS and len(table) == 2
    assert table.val_loss.isna().all() and table.val_top1.isna().all() and table.train_loss.notna().all()
    assert all(line.split(",")[3:5] == ["", ""] for line in (run / "history.csv").read_text().splitlines()[1:])
    assert json.loads((run / "metrics.json").read_text())["n_train"] == 200


@pytest.mark.usefixtures("undrawn_curves")
def test_a_training_image_is_learned_from_or_held_out(monkeypatch, cli, tiny, workplace):
    sets, given = {}, {}
    real = Trainer.__init__

    def noting(self, model, train, val, recipe, colour, seed, world):
        sets.update(train=set(train.rows.tolist()), val=set(val.rows.tolist()), labels=val.labels)
        given.update(colour=colour, seed=seed)
        real(self, model, train, val, recipe, colour, seed, world)

    monkeypatch.setattr(Trainer, "__init__", noting)
    assert cli("train", *tiny, "trainer.epochs=1", "trainer.val_fraction=0.25", "seed=3").code == 0
    assert len(sets["val"]) == 50 and not sets["train"] & sets["val"]
    assert sets["train"] | sets["val"] == set(range(200))
    assert torch.equal(sets["labels"].bincount(), torch.full((10,), 5))
    task = load_checkpoint(workplace / "results/train/shapes-fa_cnn-seed3/checkpoint.pt").task
    assert torch.equal(given["colour"], torch.tensor(task["mean"])) and given["seed"] == 3


@pytest.mark.usefixtures("undrawn_curves")
def test_a_sweep_trains_a_run_for_each_job(cli, tiny, workplace):
    code, out, _ = cli("train", *tiny, "trainer.epochs=1", "-m", "trainer.batch_size=50,500,60")
    assert code == 2
    assert out.splitlines()[-3:] == ["job 0: done", "job 1: exit 2", "job 2: done"]
    assert len(list(workplace.glob("results/train/*/DONE.json"))) == 2


@pytest.mark.slow
def test_narrow_stages_do_not_crash(program, tiny, tmp_path):
    # A strided 1x1 convolution of fewer than 8 channels-last channels corrupts the heap in some builds of torch.
    words = [word for word in tiny if not word.startswith("model.")]
    words += ["model=resnet_small", "model.widths=[4,8]", "model.blocks=[1,1]", "trainer.epochs=2"]
    code, _, err = program("train", *words, cwd=tmp_path)
    assert code == 0, err
