"""``fa-repro explain`` on image files: predictions, maps and pictures, and what it refuses."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from fa_repro import load_model
from refusals import assert_refused
from samples import picture

SIZE = 16  # of the images that the tiny FA-CNN of conftest was made for
METHODS = ("feature_map", "depth_map", "occlusion")


@pytest.fixture
def explain(cli, untrained, tree, tmp_path):
    """Explain files of a folder: ``explain("a.png", WORDS...)`` returns the answer and the run's directory."""
    write, root = tree
    for seed, name in enumerate(("a.png", "b.png", "c.png")):
        write(f"mine/{name}", picture(seed, SIZE, SIZE, 3))
    model = untrained("explained", 1)

    def run(images, *words):
        place = [f"{root}/mine/{name}" for name in images]
        given = ["explain", f"checkpoint={model}", f"images=[{','.join(place)}]", f"results={tmp_path / 'results'}"]
        return cli(*given, "name=mine", "device=cpu", *words), tmp_path / "results/explain/mine"

    run.model, run.folder, run.write = model, root / "mine", write
    return run


def test_predictions_maps_and_pictures_are_the_networks_own(explain):
    answer, path = explain(["a.png", "b.png"], f"methods=[{','.join(METHODS)}]")
    assert answer.code == 0, answer.err
    model = load_model(explain.model)
    images = torch.stack([torch.from_numpy(picture(seed, SIZE, SIZE, 3)).permute(2, 0, 1) for seed in (0, 1)]) / 255
    with torch.inference_mode():
        probability = model(images).softmax(1)
        own, depth = model.class_maps(images), model.depth_maps(images, "bilinear")
    table = pd.read_csv(path / "predictions.csv")
    assert table["rank"].tolist() == [1, 2, 3, 4, 5] * 2
    for i, (_, lines) in enumerate(table.groupby("file", sort=False)):
        assert lines.probability.tolist() == pytest.approx(
            probability[i].sort(descending=True).values[:5].tolist(),
            rel=1e-5,  # the file has six digits
        )
        assert lines.explained.tolist() == [True] + [False] * 4
        assert lines.file.iloc[0].endswith(("a.png", "b.png")[i])
    maps = np.load(path / "maps.npz")
    assert set(maps) == {"files", "targets", *METHODS}  # no control: nothing is judged here
    targets = probability.argmax(1)
    chosen = depth[torch.arange(2), targets].numpy()
    assert np.abs(maps["depth_map"] - chosen).max() < 1e-5
    shown = torch.nn.functional.interpolate(
        own[torch.arange(2), targets][:, None], (SIZE, SIZE), mode="bilinear", align_corners=False
    )
    assert np.abs(maps["feature_map"] - shown[:, 0].numpy()).max() < 1e-5
    assert np.abs(maps["feature_map"] - shown.flip(0)[:, 0].numpy()).max() > 1e-3
    with Image.open(path / "explained-1.png") as sheet:
        assert min(sheet.size) > 200 and np.asarray(sheet.convert("L")).std() > 5
    assert "a.png: " in answer.out and "feature_map, depth_map, occlusion of 2 images" in answer.out
    again, _ = explain(["a.png", "b.png"], f"methods=[{','.join(METHODS)}]")
    assert again.code == 0 and "already finished" in again.out


def test_a_class_may_be_asked_for_and_is_told_though_it_is_unlikely(explain):
    (answer, path), model = explain(["c.png"], "target=crescent", "methods=[depth_map]"), load_model(explain.model)
    assert answer.code == 0, answer.err
    k = list(np.load(path / "maps.npz")["targets"])
    assert k == ["crescent"]
    table = pd.read_csv(path / "predictions.csv")
    asked = table[table["class"] == "crescent"]
    assert asked.explained.tolist() == [True] and table.explained.sum() == 1
    image = torch.from_numpy(picture(2, SIZE, SIZE, 3)).permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        expected = model(image).softmax(1).flatten().sort(descending=True)
    assert asked.probability.iloc[0] == pytest.approx(float(expected.values[int(asked["rank"].iloc[0]) - 1]), rel=1e-5)


def test_a_folder_is_all_its_images_whatever_their_size_and_colour(explain):
    explain.write("mine/d.png", picture(3, 40, 24, 3))
    explain.write("mine/e.png", picture(4, SIZE, SIZE))  # grey
    (explain.folder / "notes.txt").write_text("no image")
    for seed in range(5, 10):
        explain.write(f"mine/{seed}.png", picture(seed, SIZE, SIZE, 3))
    answer, path = explain([""], "methods=[feature_map]")
    assert answer.code == 0, answer.err
    assert [name.rsplit("/", 1)[1] for name in np.load(path / "maps.npz")["files"]] == [
        *(f"{seed}.png" for seed in range(5, 10)),
        *(f"{letter}.png" for letter in "abcde"),
    ]
    assert {file.name for file in path.glob("*.png")} == {"explained-1.png", "explained-2.png"}  # eight, and two


@pytest.mark.parametrize(
    ("images", "words", "said"),
    [
        (["none.png"], (), ("none.png", "no such file or folder")),
        (["a.png"], ("target=crescnet",), ("target=crescnet", "Did you mean crescent?")),
        (["a.png"], ("target=label",), ("target=label", "predicted")),
        (["a.png"], ("methods=[permutation]",), ("permutation needs two images",)),
        (["a.png"], ("image_size=15",), ("2-fold", "15 pixels", "(image_size)")),
        (["latin"], (), ("caf\\udce9.png", "Rename it")),
        (["text.png"], (), ("text.png", "no readable image")),
        (["empty"], (), ("empty", "no image in this folder")),
    ],
)
def test_what_cannot_be_explained_is_refused_in_one_line(explain, workplace, images, words, said):
    (explain.folder / "text.png").write_text("no image")
    (explain.folder / "empty").mkdir()
    (explain.folder / "latin").mkdir()
    (explain.folder / "latin" / "caf\udce9.png").write_bytes(b"")  # é in Latin-1
    answer, path = explain(images, *words)
    refusal = assert_refused(answer, workplace)
    assert all(part in refusal for part in said), refusal
    assert not path.exists()


def test_a_photo_is_turned_as_its_exif_says(explain):
    upright, exif = picture(5, SIZE, SIZE, 3), Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: to be turned by a quarter clockwise
    explain.write("mine/upright.png", upright)
    explain.write("mine/turned.png", np.rot90(upright), exif=exif)
    explain.write("mine/lying.png", np.rot90(upright))
    answer, path = explain(["upright.png", "turned.png", "lying.png"], "methods=[feature_map]")
    assert answer.code == 0, answer.err
    straight, turned, lying = np.load(path / "maps.npz")["feature_map"]
    assert np.array_equal(turned, straight) and np.abs(lying - straight).max() > 1e-3


def test_explain_needs_images(cli, untrained, workplace):
    refusal = assert_refused(cli("explain", f"checkpoint={untrained('explained', 1)}"), workplace)
    assert "images=FILE" in refusal


def test_a_network_for_grey_images_takes_grey_images_alone(explain, untrained, cli, tmp_path):
    from fa_repro.checkpoint import Checkpoint, load_checkpoint
    from fa_repro.models import Task, build_model

    colour = load_checkpoint(explain.model)
    task = Task(len(colour.classes), 1, SIZE, [0.5], [0.25])
    model = build_model(colour.model, task).eval()
    with (tmp_path / "grey.pt").open("wb") as file:
        Checkpoint(**vars(colour) | {"task": task._asdict(), "state": model.state_dict()}).save(file)
    explain.write("mine/grey.png", picture(3, SIZE, SIZE, 3)[..., 0])
    words = ["explain", f"checkpoint={tmp_path / 'grey.pt'}", "methods=[feature_map]", "device=cpu"]
    answer = cli(*words, f"images={explain.folder}/grey.png", f"results={tmp_path / 'grey'}", "name=mine")
    assert answer.code == 0, answer.err
    with torch.inference_mode():
        pixels = torch.from_numpy(picture(3, SIZE, SIZE, 3)[..., 0].astype(np.uint8))[None, None] / 255
        wanted = model(pixels).softmax(1).max()
    told = pd.read_csv(tmp_path / "grey/explain/mine/predictions.csv").probability[0]
    assert told == pytest.approx(float(wanted), rel=1e-5)
    mixed = f"images=[{explain.folder}/grey.png,{explain.folder}/a.png]"
    (tmp_path / "none").mkdir()
    line = assert_refused(cli(*words, mixed, f"results={tmp_path / 'none'}", "name=mine"), tmp_path / "none")
    assert "takes grey images, and not all of these are" in line
