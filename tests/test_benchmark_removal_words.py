"""``fa-repro benchmark-removal`` in other words: networks, removed pixels, precision, units, images of a folder."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fa_repro.data import load_data
from fa_repro.removal.imputation import stand_in
from places import CURVES, FA_CNN, PER_IMAGE, tables


@pytest.mark.slow
def test_a_resnet_has_its_missing_methods_named_and_left_out(place):
    words = ["orders=[morf]", "target=label", "methods=[feature_map,depth_map,grad_cam,random]"]
    code, out, err, path = place.run("resnet", *words, model="resnet_small")
    assert code == 0, err
    curves, images = tables(path)
    assert list(curves.method.unique()) == ["grad_cam", "random", "center"]
    page = (path / "summary.md").read_text()
    for method in ("feature_map", "depth_map"):
        assert f"`{method}` is left out" in out.partition("#")[0]  # said before the work begins
        assert f"`{method}` is left out" in page
    added = "control `center` is added."
    assert added in out.partition("#")[0] and added in page
    assert not (path / "differences.csv").exists()
    labels = place.test.labels[torch.tensor(images.image.tolist())]
    assert images.target.tolist() == labels.tolist()
    with torch.inference_mode():
        predicted = place.network("resnet_small")(place.test.images.float() / 255).argmax(1)
    intact = images[images.fraction == 0]
    wanted = (predicted == place.test.labels)[intact.image.tolist()].int().tolist()
    assert intact.kept.tolist() == intact.correct.tolist() == wanted and 0 in wanted


@pytest.mark.slow
@pytest.mark.parametrize("imputation", ["zero", "blur", "noise", "noisy_linear"])
def test_each_imputation_is_measured(place, imputation):
    code, _, err, path = place.run(
        imputation, f"imputation={imputation}", "methods=[center]", "orders=[lerf]", "n_images=3", "fractions=[0,0.5,1]"
    )
    assert code == 0, err
    curves, images = tables(path)
    assert set(curves.imputation) == set(images.imputation) == {imputation}
    assert f"removed pixels: {imputation}" in (path / "summary.md").read_text()
    gone = images[images.fraction == 1].set_index("image")
    with torch.inference_mode():
        black = place.network()(torch.zeros(1, 3, 16, 16)).softmax(1)[0]
    same = np.abs(gone.target_probability - black[gone.target.tolist()].numpy()).max() < 2e-6
    assert same == (imputation == "zero")


@pytest.mark.slow
def test_noise_has_the_training_sets_mean_and_deviation(place):
    words = ["imputation=noise", "methods=[center]", "orders=[lerf]", "n_images=3", "fractions=[0,0.5,1]"]
    code, _, err, path = place.run("noise-again", *words)
    assert code == 0, err
    _, images = tables(path)
    gone = images[(images.fraction == 1) & (images.method == "center")].set_index("image").sort_index()
    rows, targets = torch.tensor(gone.index.tolist()), torch.tensor(gone.target.tolist())
    assert len(rows) == 3
    mean, std = map(torch.tensor, load_data(place.data, "train").statistics())

    def off(std):
        instead = stand_in(place.test.images[rows].float() / 255, "noise", mean, std, torch.arange(3), 3, 0)
        with torch.inference_mode():
            probabilities = place.network()(instead).softmax(1).gather(1, targets[:, None])[:, 0]
        return np.abs(gone.target_probability - probabilities.numpy()).max()

    assert off(std) < 2e-6 and off(mean) > 1e-4


@pytest.mark.slow
def test_readings_in_bf16_say_their_error(place):
    pages, images = {}, {}
    for precision in ("bf16", "fp32"):
        words = [f"precision={precision}", "methods=[center]", "fractions=[0,0.5,1]"]
        code, _, err, path = place.run(precision, *words)
        assert code == 0, err
        pages[precision], images[precision] = (path / "summary.md").read_text(), tables(path)[1]
    assert "Read in bf16: with removed pixels mean" in pages["bf16"] and "Read in bf16" not in pages["fp32"]
    off = (images["bf16"].target_probability - images["fp32"].target_probability).abs().max()
    assert 1e-5 < off < 0.1


@pytest.mark.slow
def test_superpixels_go_as_wholes_at_the_fractions_that_were_asked_for(place):
    words = ["methods=[feature_map,random]", "n_images=6"]
    code, _, err, path = place.run("superpixels", "unit=superpixel", "superpixels=12", *words)
    assert code == 0, err
    code, _, err, pixels = place.run("pixels", *words)
    assert code == 0, err
    assert "one of about 12 superpixels at a time" in (path / "summary.md").read_text()
    (curves, _), (single, _) = tables(path), tables(pixels)
    assert curves.fraction.tolist() == single.fraction.tolist()
    ends = curves.fraction.isin([0, 1])
    assert np.allclose(curves.target_probability[ends], single.target_probability[ends], atol=1e-5)
    assert (curves.target_probability - single.target_probability).abs().max() > 1e-3


@pytest.mark.slow
@pytest.mark.usefixtures("one_format")
def test_two_imputations_squares_and_one_class_in_one_run(place):
    words = ["methods=[feature_map,random]", "unit=patch", "unit_side=8", "target=disk", "n_images=6"]
    code, _, err, path = place.run("two", "imputation=[mean,noisy_linear]", *words)
    assert code == 0, err
    curves, images = tables(path)
    assert (path / "curves.csv").read_text().splitlines()[0] == CURVES and ",".join(images.columns) == PER_IMAGE
    assert list(curves.imputation.unique()) == list(images.imputation.unique()) == ["mean", "noisy_linear"]
    assert curves.fraction.unique().tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert set(images.target) == {place.test.classes.index("disk")}
    differences = pd.read_csv(path / "differences.csv")
    assert differences.groupby("imputation").size().to_dict() == {"mean": 3, "noisy_linear": 3}
    assert differences.imputation.iloc[0] == "mean"
    page = (path / "summary.md").read_text()
    assert page.index("## Removed pixels: mean") < page.index("## Removed pixels: noisy_linear")
    assert "target: disk" in page and "a square of 8 at a time" in page
    keys = ["image", "method", "order", "fraction"]
    one, two = (images[images.imputation == kind].set_index(keys) for kind in ("mean", "noisy_linear"))
    intact = one.index.get_level_values("fraction") == 0
    assert (one[intact].target_logit == two[intact].target_logit).all()
    assert (one[~intact].target_logit - two[~intact].target_logit).abs().max() > 1e-3
    with Image.open(path / "curves.png") as both:
        assert both.height > 1.5 * both.width / 2
    number = place.test.classes.index("disk")
    code, _, err, again = place.run("alone", "imputation=mean", *words[:3], f"target={number}", "n_images=6")
    assert code == 0, err
    pd.testing.assert_frame_equal(tables(again)[1], one.reset_index()[images.columns], check_exact=False)
    code, out, _, _ = place.run("alone", "imputation=[mean]", *words[:3], f"target={number}", "n_images=6")
    assert code == 0 and "already finished" in out  # one word or a list of it: the same run


@pytest.mark.slow
def test_an_image_folder_gives_its_own_positions(place, tmp_path):
    for i, label in enumerate(place.test.labels[:20].tolist()):
        folder = tmp_path / "test" / place.test.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(place.test.images[i].permute(1, 2, 0).numpy()).save(folder / f"{i:02}.png")
    place.save(FA_CNN, "alphabetical", sorted(place.test.classes))  # as the folders' order is
    words = ["data=image_folder", f"data.root={tmp_path}", f"data.cache={tmp_path}", "data.n_test=15"]
    words += ["methods=[center]", "orders=[morf]", "fractions=[0,1]", "n_images=11"]
    code, _, err, path = place.run("folder", *words, model="alphabetical")
    assert code == 0, err
    _, images = tables(path)
    config = place.data | {"name": "image_folder", "root": str(tmp_path), "cache": str(tmp_path), "image_size": None}
    every = load_data(config | {"n_test": None}, "test")
    rows = sorted(images.image.unique())
    assert len(rows) == 11 and max(rows) > 14
    intact = images[(images.fraction == 0) & (images.method == "center")].set_index("image").loc[rows]
    with torch.inference_mode():
        predicted = place.network()(every.images[torch.tensor(rows)].float() / 255).argmax(1)
    assert intact.target.tolist() == predicted.tolist()
