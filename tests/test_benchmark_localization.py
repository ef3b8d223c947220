"""``fa-repro benchmark-localization`` from end to end, on untrained networks and a few images."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import places
from places import METHODS
from refusals import one_line

QUICK = ["n_images=16", "bootstrap=100", "repeats=1", "confidence=0", "mosaics=3", "device=cpu"]
TRAINER = {"augment": {"crop": 0, "flip": True, "cutout": 0, "removal": 0.5}}
COLUMNS = "measure,method,value,low,high,minus_reference,minus_reference_low,minus_reference_high"
COLUMNS += ",won,won_low,won_high,chance,degenerate,n,reference"
COLUMNS += "".join(f",minus_{name},minus_{name}_low,minus_{name}_high" for name in ("random", "center"))
PER_IMAGE = "measure,mosaic,image,method,target,value,chance,degenerate"


class Place(places.Place):
    """With an image folder in which the untrained FA-CNN is right: its word is the class."""

    command, quick, n_test, trainer = "benchmark-localization", QUICK, 200, TRAINER

    def __init__(self, folder, cli):
        super().__init__(folder, cli)
        with torch.inference_mode():
            predicted = self.network()(self.test.images.float() / 255).argmax(1).tolist()
        self.root, lines = folder / "images", ["split,class,file,x0,y0,x1,y1"]
        for k, name in enumerate(sorted(self.test.classes)):
            (self.root / "test" / name).mkdir(parents=True)
            mine = [i for i, found in enumerate(predicted) if found == k][:5]
            for i in mine or [k]:  # a class that is never predicted has one image, which is wrong
                self.save_image(i, name)
                if i % 4:  # some images have no box
                    ys, xs = self.test.masks[i].nonzero().unbind(1)
                    lines.append(f"test,{name},{i:03}.png,{xs.min()},{ys.min()},{xs.max()},{ys.max()}")
        self.boxes = "\n".join(lines) + "\n"
        (self.root / "boxes.csv").write_text(self.boxes)
        self.words = ["data=image_folder", f"data.root={self.root}", f"data.cache={folder / 'cache'}"]

    def save_image(self, i, name):
        pixels = self.test.images[i].permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(self.root / "test" / name / f"{i:03}.png")

    def save(self, model):
        super().save(model, classes=sorted(self.test.classes))


@pytest.fixture(scope="module")
def place(tmp_path_factory, cli):
    return Place(tmp_path_factory.mktemp("localization"), cli)


@pytest.fixture(scope="module")
def whole(place):
    """One run with everything: every method and measure, boxes, mosaics."""
    code, out, err, path = place.run("whole", *place.words)
    assert code == 0, err
    return out, path


@pytest.mark.slow
def test_every_file_is_there_with_its_columns(whole):
    out, path = whole
    table, maps = pd.read_csv(path / "localization.csv"), pd.read_csv(path / "per_image.csv.gz")
    assert ",".join(table.columns) == COLUMNS and ",".join(maps.columns) == PER_IMAGE
    assert table.method.tolist() == METHODS * 4
    assert table.measure.unique().tolist() == ["pointing_game", "energy", "grid", "grid_peak"]
    assert table.n.unique().tolist() == [16, 3] and len(maps) == len(METHODS) * (16 + 16 + 2 * 3 * 4)
    assert (path / "summary.md").read_text() in out
    for name in ("config.yaml", "provenance.json", "metrics.json", "DONE.json"):
        assert (path / name).stat().st_size > 0
    for name in ("bars.png", "examples.png"):
        with Image.open(path / name) as image:
            image.load()
            assert min(image.size) > 200 and np.asarray(image.convert("L")).std() > 5


@pytest.mark.slow
def test_the_table_is_the_mean_of_single_maps(whole):
    table = pd.read_csv(whole[1] / "localization.csv").set_index(["measure", "method"])
    maps = pd.read_csv(whole[1] / "per_image.csv.gz")
    means = maps.groupby(["measure", "method"]).agg({"value": "mean", "chance": "mean", "degenerate": "sum"})
    for column in ("value", "chance", "degenerate"):
        assert (table[column] - means[column]).abs().max() < 1e-5
    assert (table.low <= table.value + 1e-6).all() and (table.value <= table.high + 1e-6).all()
    own = table.xs("feature_map", level="method").value
    for method in METHODS:
        line = table.xs(method, level="method")
        assert (line.minus_reference - (line.value - own)).abs().max() < 1e-5
        for control in ("random", "center"):
            other = table.xs(control, level="method").value
            assert (line[f"minus_{control}"] - (line.value - other)).abs().max() < 1e-5
    # T1: Grad-CAM is the class map up to a factor, which no measure sees.
    assert table.xs("grad_cam", level="method").minus_reference.abs().max() < 1e-5
    assert table.loc["grid"].chance.unique().tolist() == table.loc["grid_peak"].chance.unique().tolist() == [0.25]


@pytest.mark.slow
def test_energies_of_the_class_maps_are_those_inside_the_boxes(place, whole):
    """The same figure from the files again, by other means than the command's."""
    maps = pd.read_csv(whole[1] / "per_image.csv.gz")
    maps = maps[(maps.measure == "energy") & (maps.method == "feature_map")].set_index("image")
    files = sorted((place.root / "test").glob("*/*.png"))
    boxes = {(line.split(",")[1], line.split(",")[2]): line.split(",")[3:] for line in place.boxes.splitlines()[1:]}
    classes = sorted(place.test.classes)
    for row, line in maps.iterrows():
        file = files[row]
        label = classes.index(file.parent.name)
        x0, y0, x1, y1 = map(int, boxes[file.parent.name, file.name])
        image = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None].float() / 255
        with torch.inference_mode():
            small = place.network().class_maps(image)[:, label : label + 1]
        map_ = torch.nn.functional.interpolate(small, size=16, mode="bilinear")[0, 0].double()
        assert line.target == label
        assert line.value == pytest.approx(float(map_[y0 : y1 + 1, x0 : x1 + 1].sum() / map_.sum()), abs=2e-6)
        assert line.chance == pytest.approx((x1 - x0 + 1) * (y1 - y0 + 1) / 256, abs=1e-6)


@pytest.mark.slow
def test_images_without_a_box_are_left_out_and_counted(place, whole):
    files = sorted((place.root / "test").glob("*/*.png"))
    without = [i for i, file in enumerate(files) if int(file.stem) % 4 == 0]
    maps = pd.read_csv(whole[1] / "per_image.csv.gz")
    assert without and not set(maps[~maps.measure.str.startswith("grid")].image) & set(without)
    page = (whole[1] / "summary.md").read_text()
    assert f"16 test images of images ({len(without)} without a truth are left out)" in page
    mosaics = maps[(maps.measure == "grid") & (maps.method == "center")]
    assert mosaics.groupby("mosaic").target.nunique().tolist() == [4, 4, 4] and mosaics.image.is_unique


@pytest.mark.slow
def test_a_finished_run_is_skipped_and_other_boxes_are_another_run(place, whole):
    before = {file.name: file.stat().st_mtime_ns for file in whole[1].iterdir()}
    code, out, _, _ = place.run("whole", *place.words)
    assert code == 0 and "already finished" in out
    assert "grid" in one_line(place.run("whole", *place.words, "grid=3")[:3])
    try:
        (place.root / "boxes.csv").write_text(place.boxes + "\n")
        assert "inputs.boxes" in one_line(place.run("whole", *place.words)[:3])
    finally:
        (place.root / "boxes.csv").write_text(place.boxes)
    assert {file.name: file.stat().st_mtime_ns for file in whole[1].iterdir()} == before


@pytest.mark.slow
def test_what_a_model_cannot_do_is_named_and_left_out(place):
    words = [*place.words, "methods=[feature_map,depth_map,grad_cam,random]", "target=predicted", "confidence=1"]
    code, out, err, path = place.run("resnet", *words, model="resnet_small")
    assert code == 0, err
    table = pd.read_csv(path / "localization.csv")
    assert table.method.unique().tolist() == ["grad_cam", "random", "center"] and set(table.reference) == {"grad_cam"}
    assert set(table.measure) == {"pointing_game", "energy"}
    page = (path / "summary.md").read_text()
    lines = (
        "`feature_map` is left out",
        "`depth_map` is left out",
        "control `center` is added",
        "`grid` and `grid_peak` are left out: grid=2",
    )
    for words in lines:
        assert words in out.partition("#")[0] and words in page  # said before the work begins, and kept
    maps = pd.read_csv(path / "per_image.csv.gz")
    files = sorted((place.root / "test").glob("*/*.png"))
    images = torch.stack([torch.from_numpy(np.array(Image.open(files[i]))).permute(2, 0, 1) for i in maps.image])
    with torch.inference_mode():
        assert maps.target.tolist() == place.network("resnet_small")(images.float() / 255).argmax(1).tolist()


@pytest.mark.slow
def test_the_grid_needs_no_truth(place, tmp_path):
    for file in (place.root / "test").glob("*/*.png"):
        target = tmp_path / "test" / file.parent.name
        target.mkdir(parents=True, exist_ok=True)
        (target / file.name).write_bytes(file.read_bytes())
    words = ["data=image_folder", f"data.root={tmp_path}", f"data.cache={tmp_path}", "methods=[feature_map,center]"]
    text = one_line(place.run("bare", *words)[:3])
    assert "neither masks nor boxes" in text and "measures=[grid]" in text and "boxes.csv" in text
    code, _, err, path = place.run("bare", *words, "measures=[grid]")
    assert code == 0, err
    assert pd.read_csv(path / "localization.csv").measure.unique().tolist() == ["grid"]
    (tmp_path / "boxes.csv").write_text("split,class,file,x0,y0,x1,y1\ntest,nothing,0.png,0,0,1,1\n")
    assert "none of its boxes" in one_line(place.run("foreign", *words)[:3])


# ------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("word", "needles"),
    [
        ("methods=[foo]", ["methods=['foo']", "feature_map"]),
        ("measures=[iou]", ["measures=['iou']", "energy"]),
        ("measures=[]", ["measures=[]"]),
        ("target=labels", ["target=labels", "Did you mean label?"]),
        ("tolerance=-1", ["tolerance=-1"]),
        ("grid=1", ["grid=1", "2 or more"]),
        ("confidence=2", ["confidence=2"]),
        ("mosaics=1", ["mosaics=1"]),
        ("upsampling=cubic", ["upsampling=cubic", "nearest"]),
        ("n_image=3", ["Did you mean n_images?"]),
        ("n_images=1", ["permutation", "two images or more"]),
    ],
)
def test_bad_values_are_refused_in_one_line(place, word, needles):
    *answer, path = place.run("refused", *place.words, word)
    text = one_line(answer)
    assert all(needle in text for needle in needles), text
    assert not (path / "DONE.json").exists()


def test_too_few_confident_images_are_refused_if_the_grid_is_all_that_is_asked_for(place):
    for word in ("confidence=1", "grid=4"):
        *answer, path = place.run("few", *place.words, "measures=[grid]", word)
        text = one_line(answer)
        assert "2 mosaics are the least" in text and "16 images" in text
        assert not path.exists()


def test_a_model_that_takes_one_size_alone_has_no_grid(place, monkeypatch):
    from fa_repro.models import FeatureAlignCNN

    whole = FeatureAlignCNN.forward

    def one_size(self, images):
        if images.shape[-1] != 16:
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        return whole(self, images)

    monkeypatch.setattr(FeatureAlignCNN, "forward", one_size)
    text = one_line(place.run("one_size", *place.words, "measures=[grid]")[:3])
    assert "fa_cnn can't take images of 3x32x32" in text and "mat1 and mat2" in text


def test_without_a_usable_checkpoint_nothing_runs(cli, tmp_path):
    assert "checkpoint=PATH" in one_line(cli("benchmark-localization", f"results={tmp_path}"))
    missing = tmp_path / "missing.pt"
    text = one_line(cli("benchmark-localization", f"results={tmp_path}", f"checkpoint={missing}"))
    assert f"checkpoint={missing}" in text and not (tmp_path / "benchmark-localization").exists()


def test_a_damaged_table_of_boxes_is_refused(place):
    try:
        (place.root / "boxes.csv").write_text(place.boxes + "test,disk,x.png,0,0,nine,1\n")
        assert f"line {place.boxes.count(chr(10)) + 1}" in one_line(place.run("damaged", *place.words)[:3])
    finally:
        (place.root / "boxes.csv").write_text(place.boxes)
