"""``fa-repro benchmark-removal`` from end to end, on untrained networks and a few images: what one run leaves."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fa_repro.data import load_data, stratified
from places import CURVES, METHODS, PER_IMAGE, tables
from refusals import one_line


@pytest.fixture(scope="module")
def whole_run(place):
    """One run with everything: every method on the FA-CNN."""
    code, out, err, path = place.run("whole")
    assert code == 0, err
    return out, err, path


@pytest.mark.slow
def test_every_file_is_there_with_its_columns(whole_run):
    _, err, path = whole_run
    assert "Traceback" not in err
    curves, images = tables(path)
    assert (path / "curves.csv").read_text().splitlines()[0] == CURVES
    assert ",".join(images.columns) == PER_IMAGE
    assert len(curves) == len(METHODS) * 2 * 5 and len(images) == len(curves) * 6
    assert not curves.duplicated(["method", "order", "fraction"]).any()
    assert not images.duplicated(["image", "method", "order", "fraction"]).any()
    assert list(curves.method.unique()) == METHODS and set(curves.order) == {"morf", "lerf"}
    assert curves.fraction.unique().tolist() == images.fraction.unique().tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert set(curves.n) == {6} and set(curves.imputation) == set(images.imputation) == {"mean"}
    for name in ("summary.csv", "summary.md", "differences.csv", "config.yaml", "provenance.json", "DONE.json"):
        assert (path / name).stat().st_size > 0
    for name in ("curves.png", "examples.png"):
        with Image.open(path / name) as image:
            image.load()
            assert min(image.size) > 200 and np.asarray(image.convert("L")).std() > 5


@pytest.mark.slow
def test_conditions_and_warnings_are_told_to_the_report_as_on_the_page(whole_run):
    path = whole_run[2]
    told, page = json.loads((path / "metrics.json").read_text()), (path / "summary.md").read_text()
    assert told["conditions"] == page.splitlines()[2] and "patches of 4 pixels, repeats=1, seed 0." in page
    assert list(told["warnings"]) == ["mean"]
    assert [f"- {words}" for words in told["warnings"]["mean"]] == [
        line for line in page.splitlines() if line.startswith("- ")
    ]
    _, images = tables(path)
    intact = images[(images.method == "random") & (images.order == "morf") & (images.fraction == 0)]
    assert told["top1"] == pytest.approx([100 * intact.correct.mean()])


@pytest.mark.slow
def test_means_over_images_are_the_curves(whole_run):
    curves, images = tables(whole_run[2])
    keys = ["method", "order", "imputation", "fraction"]
    means = images.groupby(keys).agg({"target_probability": "mean", "kept": "mean", "correct": "mean"})
    read = curves.set_index(keys).loc[means.index]
    for ours, theirs in (("target_probability", "target_probability"), ("kept", "kept"), ("accuracy", "correct")):
        assert (read[ours] - means[theirs]).abs().max() < 1e-5
    assert (read.target_probability - images.groupby(keys).target_probability.median()).abs().max() > 1e-5
    assert (read.target_probability_low <= read.target_probability + 1e-6).all()
    assert (read.target_probability_high >= read.target_probability - 1e-6).all()


@pytest.mark.slow
def test_images_are_positions_in_the_data_set(place, whole_run):
    _, images = tables(whole_run[2])
    chosen = stratified(place.test.labels, 6, 0)
    assert sorted(images.image.unique()) == chosen.tolist() != list(range(6))
    with torch.inference_mode():
        logits = place.network()(place.test.images[chosen].float() / 255)
    target = logits.argmax(1)
    assert len(target.unique()) > 1
    for method in METHODS:
        intact = images[(images.method == method) & (images.fraction == 0) & (images.order == "lerf")]
        intact = intact.set_index("image").loc[chosen.tolist()]
        assert intact.target.tolist() == target.tolist() and (intact.kept == 1).all()
        assert (
            np.abs(intact.target_probability - logits.softmax(1).gather(1, target[:, None])[:, 0].numpy()).max() < 2e-6
        )
        assert np.abs(intact.target_logit - logits.gather(1, target[:, None])[:, 0].numpy()).max() < 2e-5
        assert intact.correct.tolist() == (target == place.test.labels[chosen]).int().tolist()


@pytest.mark.slow
def test_all_pixels_gone_leaves_the_training_sets_colour(place, whole_run):
    _, images = tables(whole_run[2])
    network = place.network()
    mean = torch.tensor(load_data(place.data, "train").statistics()[0]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    with torch.inference_mode():
        probabilities = network(mean).softmax(1)[0]
    gone = images[images.fraction == 1]
    assert np.abs(gone.target_probability - probabilities[gone.target.tolist()].numpy()).max() < 2e-6


@pytest.mark.slow
def test_summaries_agree_with_the_curves(whole_run):
    out, _, path = whole_run
    curves, images = tables(path)
    summary, differences = pd.read_csv(path / "summary.csv"), pd.read_csv(path / "differences.csv")
    assert len(summary) == 2 * len(METHODS) and len(differences) == len(METHODS)
    for _, line in summary.iterrows():
        part = curves[(curves.method == line.method) & (curves.order == line.order)]
        assert line.auc_probability == pytest.approx(np.trapezoid(part.target_probability, part.fraction), abs=1e-5)
        assert line.auc_kept == pytest.approx(np.trapezoid(part.kept, part.fraction), abs=1e-5)
        flips = [
            next((100 * f for f, kept in zip(one.fraction, one.kept, strict=True) if not kept), 100)
            for _, one in images[(images.method == line.method) & (images.order == line.order)].groupby("image")
        ]
        assert line.flip_percent_mean == pytest.approx(np.mean(flips), abs=1e-3)
        assert line.flip_percent_median == np.median(flips)
    areas = summary.set_index(["method", "order"]).auc_probability
    for _, line in differences.iterrows():
        assert line.lerf_minus_morf == pytest.approx(areas[line.method, "lerf"] - areas[line.method, "morf"], abs=1e-5)
    page = (path / "summary.md").read_text()
    assert page in out and all(f"`{method}`" in page for method in METHODS)
    assert "## Removed pixels: mean" in page
    augmented = "50 % of the training images with removal as augmentation"
    assert f"fa_cnn trained on shapes ({augmented}, cutout of 5 pixels, locality loss of weight 0.25)" in page


@pytest.mark.slow
def test_a_finished_run_is_skipped(place, whole_run):
    path = whole_run[2]
    before = {file.name: file.stat().st_mtime_ns for file in path.iterdir()}
    code, out, _, _ = place.run("whole")
    assert code == 0 and "already finished" in out
    assert {file.name: file.stat().st_mtime_ns for file in path.iterdir()} == before
    text = one_line(place.run("whole", "n_images=5")[:3])
    assert "n_images" in text and "overwrite=true" in text
    assert {file.name: file.stat().st_mtime_ns for file in path.iterdir()} == before


@pytest.mark.slow
def test_the_batch_size_changes_no_table(place, whole_run):
    code, _, err, path = place.run("batches", "batch_size=4", "methods=[feature_map,permutation,occlusion,random]")
    assert code == 0, err
    for one, other in zip(tables(path), tables(whole_run[2]), strict=True):
        other = other[other.method.isin(one.method.unique())].reset_index(drop=True)
        assert list(one.columns) == list(other.columns) and len(one) == len(other)
        for column in one.columns:
            if one[column].dtype.kind == "f" and column != "target_logit":
                assert (one[column] - other[column]).abs().max() <= 1e-5, column
            elif column == "target_logit":
                assert (one[column] - other[column]).abs().max() <= 1e-4
            else:
                assert (one[column] == other[column]).all(), column
