"""``fa-repro benchmark-removal`` from end to end, on untrained networks and a few images."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import tiny
from fa_repro.checkpoint import Checkpoint
from fa_repro.data import load_data, stratified
from fa_repro.models import Task, build_model
from fa_repro.removal import superpixels
from fa_repro.removal.imputation import stand_in
from refusals import one_line
from tiny import RESNET

METHODS = ["feature_map", "depth_map", "contrast_map", "grad_cam", "permutation", "occlusion", "random", "center"]
FA_CNN = tiny.FA_CNN | {"maps_per_class": 2, "unshuffle": 2}
QUICK = ["n_images=6", "fractions=[0,0.25,0.5,0.75,1]", "bootstrap=100", "repeats=1", "device=cpu"]
CURVES = ["method", "order", "imputation", "fraction"]
CURVES += [f"{name}{end}" for name in ("target_probability", "kept", "accuracy") for end in ("", "_low", "_high")]
CURVES = ",".join([*CURVES, "n"])
PER_IMAGE = "image,method,order,imputation,fraction,target,target_probability,target_logit,kept,correct"


class Place:
    """A folder with a checkpoint of each kind and the results of the runs on them."""

    def __init__(self, folder, cli):
        self.folder, self.cli = folder, cli
        self.results = folder / "results"
        self.data = {"name": "shapes", "root": None, "download": False, "n_train": 40, "n_test": 20, "image_size": 16}
        self.data |= {"mirror": True, "cache": str(folder / "cache"), "seed": 0}
        self.test = load_data(self.data, "test")
        for model in (FA_CNN, RESNET):
            self.save(model)

    def checkpoint(self, name="fa_cnn"):
        return self.folder / f"{name}.pt"

    def save(self, model, name=None, classes=None):
        train = load_data(self.data, "train")
        mean, std = train.statistics()
        task = Task(len(train.classes), 3, 16, mean, std)
        torch.manual_seed(3)
        network = build_model(model, task)
        for layer in network.modules():  # statistics of these very images, so that predictions differ between them
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 1.0
        network.train()(train.images.float() / 255)
        trainer = {"augment": {"crop": 0, "flip": True, "cutout": 5, "removal": 0.5}, "locality": 0.25}
        classes = list(classes or train.classes)
        checkpoint = Checkpoint(model, task._asdict(), classes, network.state_dict(), self.data, trainer, seed=7)
        with self.checkpoint(name or model["name"]).open("wb") as file:
            checkpoint.save(file)

    def run(self, name, *words, model="fa_cnn"):
        """Return exit code, stdout, stderr and the run's directory."""
        words = [f"checkpoint={self.checkpoint(model)}", f"results={self.results}", f"name={name}", *QUICK, *words]
        return *self.cli("benchmark-removal", *words), self.results / "benchmark-removal" / name

    def network(self, name="fa_cnn"):
        from fa_repro.checkpoint import load_model

        return load_model(self.checkpoint(name))


@pytest.fixture(scope="module")
def place(tmp_path_factory, cli):
    return Place(tmp_path_factory.mktemp("benchmark"), cli)


@pytest.fixture(scope="module")
def whole(place):
    """One run with everything: every method on the FA-CNN."""
    code, out, err, path = place.run("whole")
    assert code == 0, err
    return out, err, path


def _tables(path):
    return pd.read_csv(path / "curves.csv"), pd.read_csv(path / "per_image.csv.gz")


@pytest.mark.slow
def test_every_file_is_there_with_its_columns(whole):
    _, err, path = whole
    assert "Traceback" not in err
    curves, images = _tables(path)
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
def test_conditions_and_warnings_are_told_to_the_report_as_on_the_page(whole):
    path = whole[2]
    told, page = json.loads((path / "metrics.json").read_text()), (path / "summary.md").read_text()
    assert told["conditions"] == page.splitlines()[2] and "patches of 4 pixels, repeats=1, seed 0." in page
    assert list(told["warnings"]) == ["mean"]
    assert [f"- {words}" for words in told["warnings"]["mean"]] == [
        line for line in page.splitlines() if line.startswith("- ")
    ]
    _, images = _tables(path)
    intact = images[(images.method == "random") & (images.order == "morf") & (images.fraction == 0)]
    assert told["top1"] == pytest.approx([100 * intact.correct.mean()])


@pytest.mark.slow
def test_means_over_images_are_the_curves(whole):
    curves, images = _tables(whole[2])
    keys = ["method", "order", "imputation", "fraction"]
    means = images.groupby(keys).agg({"target_probability": "mean", "kept": "mean", "correct": "mean"})
    read = curves.set_index(keys).loc[means.index]
    for ours, theirs in (("target_probability", "target_probability"), ("kept", "kept"), ("accuracy", "correct")):
        assert (read[ours] - means[theirs]).abs().max() < 1e-5
    assert (read.target_probability - images.groupby(keys).target_probability.median()).abs().max() > 1e-5
    assert (read.target_probability_low <= read.target_probability + 1e-6).all()
    assert (read.target_probability_high >= read.target_probability - 1e-6).all()


@pytest.mark.slow
def test_images_are_positions_in_the_data_set(place, whole):
    _, images = _tables(whole[2])
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
def test_all_pixels_gone_leaves_the_training_sets_colour(place, whole):
    _, images = _tables(whole[2])
    network = place.network()
    mean = torch.tensor(load_data(place.data, "train").statistics()[0]).view(1, 3, 1, 1).expand(1, 3, 16, 16)
    with torch.inference_mode():
        probabilities = network(mean).softmax(1)[0]
    gone = images[images.fraction == 1]
    assert np.abs(gone.target_probability - probabilities[gone.target.tolist()].numpy()).max() < 2e-6


@pytest.mark.slow
def test_summaries_agree_with_the_curves(whole):
    out, _, path = whole
    curves, images = _tables(path)
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
def test_a_finished_run_is_skipped(place, whole):
    path = whole[2]
    before = {file.name: file.stat().st_mtime_ns for file in path.iterdir()}
    code, out, _, _ = place.run("whole")
    assert code == 0 and "already finished" in out
    assert {file.name: file.stat().st_mtime_ns for file in path.iterdir()} == before
    text = one_line(place.run("whole", "n_images=5")[:3])
    assert "n_images" in text and "overwrite=true" in text
    assert {file.name: file.stat().st_mtime_ns for file in path.iterdir()} == before


@pytest.mark.slow
def test_the_batch_size_changes_no_table(place, whole):
    code, _, err, path = place.run("batches", "batch_size=4", "methods=[feature_map,permutation,occlusion,random]")
    assert code == 0, err
    for one, other in zip(_tables(path), _tables(whole[2]), strict=True):
        other = other[other.method.isin(one.method.unique())].reset_index(drop=True)
        assert list(one.columns) == list(other.columns) and len(one) == len(other)
        for column in one.columns:
            if one[column].dtype.kind == "f" and column != "target_logit":
                assert (one[column] - other[column]).abs().max() <= 1e-5, column
            elif column == "target_logit":
                assert (one[column] - other[column]).abs().max() <= 1e-4
            else:
                assert (one[column] == other[column]).all(), column


@pytest.mark.slow
def test_a_resnet_has_its_missing_methods_named_and_left_out(place):
    words = ["orders=[morf]", "target=label", "methods=[feature_map,depth_map,grad_cam,random]"]
    code, out, err, path = place.run("resnet", *words, model="resnet_small")
    assert code == 0, err
    curves, images = _tables(path)
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
    curves, images = _tables(path)
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
    _, images = _tables(path)
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
    pages, tables = {}, {}
    for precision in ("bf16", "fp32"):
        words = [f"precision={precision}", "methods=[center]", "fractions=[0,0.5,1]"]
        code, _, err, path = place.run(precision, *words)
        assert code == 0, err
        pages[precision], tables[precision] = (path / "summary.md").read_text(), _tables(path)[1]
    assert "Read in bf16: with removed pixels mean" in pages["bf16"] and "Read in bf16" not in pages["fp32"]
    off = (tables["bf16"].target_probability - tables["fp32"].target_probability).abs().max()
    assert 1e-5 < off < 0.1


@pytest.mark.slow
def test_superpixels_go_as_wholes_at_the_fractions_that_were_asked_for(place):
    words = ["methods=[feature_map,random]", "n_images=6"]
    code, _, err, path = place.run("superpixels", "unit=superpixel", "superpixels=12", *words)
    assert code == 0, err
    code, _, err, pixels = place.run("pixels", *words)
    assert code == 0, err
    assert "one of about 12 superpixels at a time" in (path / "summary.md").read_text()
    (curves, _), (single, _) = _tables(path), _tables(pixels)
    assert curves.fraction.tolist() == single.fraction.tolist()
    ends = curves.fraction.isin([0, 1])
    assert np.allclose(curves.target_probability[ends], single.target_probability[ends], atol=1e-5)
    assert (curves.target_probability - single.target_probability).abs().max() > 1e-3


def test_without_scikit_image_a_line_says_how_to_get_it(place, monkeypatch):
    monkeypatch.setattr(superpixels, "find_spec", lambda name: None)
    *answer, path = place.run("refused", "unit=superpixel")
    assert "pip install 'fa-repro[superpixels]'" in one_line(answer)
    assert not path.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("one_format")
def test_two_imputations_squares_and_one_class_in_one_run(place):
    words = ["methods=[feature_map,random]", "unit=patch", "unit_side=8", "target=disk", "n_images=6"]
    code, _, err, path = place.run("two", "imputation=[mean,noisy_linear]", *words)
    assert code == 0, err
    curves, images = _tables(path)
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
    pd.testing.assert_frame_equal(_tables(again)[1], one.reset_index()[images.columns], check_exact=False)
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
    _, images = _tables(path)
    config = place.data | {"name": "image_folder", "root": str(tmp_path), "cache": str(tmp_path), "image_size": None}
    every = load_data(config | {"n_test": None}, "test")
    rows = sorted(images.image.unique())
    assert len(rows) == 11 and max(rows) > 14
    intact = images[(images.fraction == 0) & (images.method == "center")].set_index("image").loc[rows]
    with torch.inference_mode():
        predicted = place.network()(every.images[torch.tensor(rows)].float() / 255).argmax(1)
    assert intact.target.tolist() == predicted.tolist()


# ------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("word", "needles"),
    [
        ("methods=[foo]", ["methods=['foo']", "feature_map"]),
        ("methods=[]", ["methods=[]"]),
        ("orders=[morf,random]", ["orders=", "lerf"]),
        ("fractions=[0.5,0.2]", ["fractions=[0.5, 0.2]", "rise from 0 to 1"]),
        ("fractions=[0,0.5,0.5,1]", ["fractions="]),
        ("fractions=[0,nan,1]", ["fractions=", "finite"]),
        ("imputation=gray", ["imputation=gray", "blur"]),
        ("imputation=[mean,noisy_linaer]", ["imputation=", "noisy_linear"]),
        ("imputation=[]", ["imputation=[]"]),
        ("imputation=null", ["imputation=None", "noisy_linear"]),
        ("imputation={mean:1}", ["imputation=", "noisy_linear"]),
        ("target=labels", ["target=labels", "Did you mean label?"]),
        ("target=dsik", ["target=dsik", "Did you mean disk?"]),
        ("target=10", ["target=10", "0 to 9"]),
        ("target=-1", ["target=-1"]),
        ("target=", ["target=: "]),
        ("unit=square", ["unit=square", "patch"]),
        ("unit=patch patch=5", ["patch=5", "divides 16"]),
        ("unit=patch unit_side=3", ["unit_side=3", "divides 16"]),
        ("unit=superpixel superpixels=257", ["superpixels=257", "256 pixels"]),
        ("bootstrap=99", ["bootstrap=99", "100"]),
        ("batch_size=0", ["batch_size=0"]),
        ("n_images=0", ["n_images=0"]),
        ("n_images=few", ["n_images", "few"]),
        ("method=[random]", ["method", "Did you mean methods?"]),
        ("data=cifar", ["data=cifar", "cifar10"]),
        ("n_images=1", ["permutation", "n_images=2"]),
    ],
)
def test_bad_values_are_refused_in_one_line(place, word, needles):
    *answer, path = place.run("refused", *word.split())
    text = one_line(answer)
    assert all(needle in text for needle in needles), text
    assert not (path / "DONE.json").exists()


def test_without_a_usable_checkpoint_nothing_runs(cli, tmp_path):
    assert "checkpoint=PATH" in one_line(cli("benchmark-removal", f"results={tmp_path}"))
    for name, content in (("missing.pt", None), ("text.pt", b"not a checkpoint"), ("empty.pt", b"")):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        text = one_line(cli("benchmark-removal", f"results={tmp_path}", f"checkpoint={tmp_path / name}"))
        assert f"checkpoint={tmp_path / name}" in text
    assert not (tmp_path / "benchmark-removal").exists()


def _write_folder(root, classes, size=16, grey=False):
    shape = (size, size) if grey else (size, size, 3)
    for name in classes:
        (root / "test" / name).mkdir(parents=True)
        Image.fromarray(np.full(shape, 90, np.uint8)).save(root / "test" / name / "0.png")
    return ["data=image_folder", f"data.root={root}", f"data.cache={root / 'cache'}"]


def test_images_of_another_size_are_refused(place, tmp_path):
    text = one_line(place.run("size", "data.image_size=20")[:3])
    assert "3x16x16" in text and "3x20x20" in text
    text = one_line(place.run("grey", *_write_folder(tmp_path, place.test.classes, grey=True))[:3])
    assert "1x16x16" in text


def test_images_of_another_number_of_classes_are_refused(place, tmp_path):
    text = one_line(place.run("three", *_write_folder(tmp_path, "abc"))[:3])
    assert "10 classes" in text and " 3." in text


def test_images_of_other_classes_are_refused(place, tmp_path):
    """As many classes as the model has, but not the same: their labels would count as right or wrong by chance."""
    words = _write_folder(tmp_path, [f"other{i}" for i in range(10)])
    text = one_line(place.run("others", *words, "methods=[center]", "orders=[morf]", "fractions=[0,1]")[:3])
    assert "disk" in text and "other0" in text


def test_a_model_that_can_do_none_of_the_methods_is_refused(place):
    text = one_line(place.run("none", "methods=[feature_map,depth_map]", model="resnet_small")[:3])
    assert "methods=['feature_map', 'depth_map']" in text and "resnet_small" in text


def test_missing_data_is_refused(place, tmp_path):
    text = one_line(place.run("gone", "data=image_folder", f"data.root={tmp_path / 'gone'}")[:3])
    assert f"data.root={tmp_path / 'gone'}" in text
