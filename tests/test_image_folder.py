"""Images in folders: which are read, to which pixels, and what is refused by name."""

import os
import shutil

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from fa_repro.data import image_folder, inputs_of, load_data
from refusals import refusal
from samples import picture


@pytest.mark.parametrize("test_name", ["test", "val"])
def test_image_folder_reads_classes_in_alphabetical_order(tree, data_config, test_name):
    write, root = tree
    written = {}
    for split in ("train", test_name):
        for i, name in enumerate(("zebra", "ant", "Mole")):  # written in another order
            for k in range(2):
                written[split, name, k] = picture(10 * i + k + len(split), 6, 6, 3)
                write(f"{split}/{name}/{k}.png", written[split, name, k])
    for split, folder in (("train", "train"), ("test", test_name)):
        data = load_data(data_config(root=root), split)
        assert data.classes == ("Mole", "ant", "zebra") == tuple(sorted(data.classes))
        assert data.labels.tolist() == [0, 0, 1, 1, 2, 2] and data.labels.dtype == torch.int64
        assert data.rows.tolist() == list(range(6))
        expected = [written[folder, name, k].transpose(2, 0, 1) for name in data.classes for k in range(2)]
        assert np.array_equal(data.images.numpy(), expected)


def test_test_folder_is_preferred_to_val(tree, data_config):
    write, root = tree
    for split, grey in (("train", 1), ("test", 2), ("val", 3)):
        write(f"{split}/a/0.png", np.full((4, 4), grey))
    assert load_data(data_config(root=root), "test").images.unique().tolist() == [2]


def test_files_that_are_no_images_are_passed_over_and_said_to_be(tree, data_config, capsys):
    write, root = tree
    write("train/a/0.png", np.zeros((4, 4)))
    (root / "train/a/.hidden").touch()
    assert len(load_data(data_config(root=root), "train")) == 1 and "not read" not in capsys.readouterr().err
    for name in ("notes.txt", "animated.gif"):
        (root / "train/a" / name).touch()
    assert len(load_data(data_config(root=root), "train")) == 1
    said = capsys.readouterr().err
    assert "2 files are no .jpg" in said and said.endswith("such as animated.gif\n")


def test_the_inputs_of_a_run_are_which_files_there_are(tree, data_config):
    write, root = tree
    for split in ("train", "test"):
        write(f"{split}/a/0.png", picture(0, 6, 6))

    def found(*splits):
        return inputs_of(data_config(root=root), *splits)

    before = found("train", "test")
    assert set(before) == {"train images", "test images"}
    os.utime(root / "test/a/0.png", (1, 1))  # unpacked again
    assert found("train", "test") == before
    prints = [before["test images"]]
    for change in (
        lambda: write("test/a/1.png", picture(1, 6, 6)),
        lambda: (root / "test/a/1.png").rename(root / "test/a/2.png"),
        lambda: write("test/a/2.png", picture(1, 9, 9)),
    ):
        change()
        prints.append(found("test")["test images"])
        assert found("train") == {"train images": before["train images"]}
    assert len(set(prints)) == 4
    assert inputs_of({"name": "shapes"}, "train") == {}
    assert "no such folder" in refusal(lambda: inputs_of(data_config(root=root / "gone"), "test"))


def test_files_behind_a_linked_folder_and_of_any_name_are_among_the_inputs(tree, data_config, tmp_path):
    write, root = tree
    write("train/a/0.png", picture(0, 6, 6))
    (tmp_path / "elsewhere").mkdir()
    (root / "train/b").symlink_to(tmp_path / "elsewhere")
    prints = []
    for name in (b"1.png", b"caf\xe9.png"):  # the second is no UTF-8
        shutil.copy(root / "train/a/0.png", tmp_path / "elsewhere" / os.fsdecode(name))
        prints.append(inputs_of(data_config(root=root), "train")["train images"])
    assert len(load_data(data_config(root=root), "train")) == 3
    assert len(set(prints)) == 2


def test_pixels_of_a_file_written_by_hand(tree, data_config):
    write, root = tree
    write("train/a/0.pgm", np.zeros((2, 2))).write_bytes(b"P5 2 2 255\n" + bytes([0, 10, 200, 255]))
    assert load_data(data_config(root=root), "train").images.tolist() == [[[[0, 10], [200, 255]]]]


def test_jpeg_pixels_are_pils(tree, data_config):
    write, root = tree
    path = write("train/a/photo.JPG", picture(1, 16, 16, 3), quality=60)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    got = load_data(data_config(root=root), "train").images.numpy()[0]
    assert np.array_equal(got, expected)
    assert not np.array_equal(got, picture(1, 16, 16, 3).transpose(2, 0, 1))  # it went through the codec


def test_grey_images_alone_have_one_channel_and_mixed_ones_three(tree, data_config):
    write, root = tree
    grey, colour = picture(2, 5, 5), picture(3, 5, 5, 3)
    write("train/a/grey.png", grey)
    alone = load_data(data_config(root=root), "train").images
    assert alone.shape == (1, 1, 5, 5) and np.array_equal(alone.numpy()[0, 0], grey)
    write("train/b/colour.png", colour)
    mixed = load_data(data_config(root=root), "train").images.numpy()
    assert np.array_equal(mixed, [np.stack([grey] * 3), colour.transpose(2, 0, 1)])


def test_palette_and_transparent_images_become_rgb(tree, data_config):
    write, root = tree
    colour = np.repeat(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8), 2, axis=0)
    path = write("train/a/palette.png", colour)
    Image.fromarray(colour).quantize(2).save(path)
    Image.fromarray(colour).convert("RGBA").save(path.with_name("transparent.png"))
    images = load_data(data_config(root=root), "train").images.numpy()
    assert np.array_equal(images, [colour.transpose(2, 0, 1)] * 2)


def test_image_size_fits_by_pils_bilinear_and_centre(tree, data_config):
    write, root = tree
    paths = [write("train/a/wide.png", picture(4, 9, 14, 3)), write("train/a/tall.png", picture(5, 20, 8, 3))]
    paths.append(write("train/a/zfit.png", picture(6, 8, 8, 3)))
    expected = []
    for path in sorted(paths):
        with Image.open(path) as image:
            expected.append(np.asarray(ImageOps.fit(image, (8, 8), Image.Resampling.BILINEAR)).transpose(2, 0, 1))
    got = load_data(data_config(root=root, image_size=8), "train").images.numpy()
    assert np.array_equal(got, expected)
    assert np.array_equal(got[2], picture(6, 8, 8, 3).transpose(2, 0, 1))  # already of that size: untouched


# Refusals


def test_differing_sizes_name_the_file_and_the_way_out(tree, data_config):
    write, root = tree
    write("train/a/0.png", np.zeros((6, 6)))
    odd = write("train/a/1.png", np.zeros((6, 7)))
    text = refusal(load_data, data_config(root=root), "train")
    assert str(odd) in text and "7x6" in text and "data.image_size" in text
    assert load_data(data_config(root=root, image_size=6), "train").images.shape == (2, 1, 6, 6)


def test_images_that_are_not_square_need_an_image_size(tree, data_config):
    write, root = tree
    path = write("train/a/0.png", np.zeros((4, 6)))
    text = refusal(load_data, data_config(root=root), "train")
    assert str(path) in text and "6x4" in text and "data.image_size" in text
    assert load_data(data_config(root=root, image_size=4), "train").images.shape == (1, 1, 4, 4)


@pytest.mark.parametrize("damage", [b"", b"no image at all", "cut"])
def test_a_broken_image_is_named(tree, data_config, damage):
    write, root = tree
    good = write("train/a/0.png", picture(7, 12, 12, 3))
    broken = write("train/a/1.jpg", picture(8, 12, 12, 3))
    broken.write_bytes(broken.read_bytes()[:-100] if damage == "cut" else damage)
    text = refusal(load_data, data_config(root=root), "train")
    assert str(broken) in text and str(good) not in text


def test_sixteen_bit_grey_is_refused(tree, data_config):
    write, root = tree
    path = write("train/a/deep.png", np.zeros((4, 4)))
    Image.fromarray((np.arange(16, dtype=np.uint16) * 4000).reshape(4, 4)).save(path)
    text = refusal(load_data, data_config(root=root), "train")
    assert f"{path}: has more than 8 bits a channel" in text and "Convert it to 8 bits" in text


def test_a_link_to_nowhere_is_named(tree, data_config):
    write, root = tree
    link = write("train/a/0.png", np.zeros((4, 4))).with_name("1.png")
    link.symlink_to(root / "gone.png")
    assert str(link) in refusal(load_data, data_config(root=root), "train")
    assert f"{link}: can't be read (" in refusal(inputs_of, data_config(root=root), "train")  # of every command, first


def test_a_folder_that_may_not_be_read_is_named(tree, data_config, monkeypatch):
    write, root = tree
    for split in ("train", "test"):
        write(f"{split}/a/0.png", np.zeros((4, 4)))
    load_data(data_config(root=root), "test")

    def denied(*_):
        raise PermissionError(13, "Permission denied", str(root / "test"))

    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.iterdir", denied)
        said = f"{root / 'test'}: can't be read (Permission denied)."
        assert (
            refusal(image_folder.classes, root / "test") == refusal(image_folder.image_files, [root / "test"]) == said
        )
    monkeypatch.setattr("torchvision.datasets.folder.find_classes", denied)
    assert refusal(image_folder.listing, root / "test") == said


def test_an_empty_class_folder_is_named(tree, data_config):
    write, root = tree
    write("train/a/0.png", np.zeros((4, 4)))
    (root / "train" / "hollow").mkdir()
    text = refusal(load_data, data_config(root=root), "train")
    assert "hollow" in text and str(root / "train") in text


def test_a_split_without_class_folders_is_named(tree, data_config):
    write, root = tree
    write("train/0.png", np.zeros((4, 4)))
    assert str(root / "train") in refusal(load_data, data_config(root=root), "train")


def test_missing_folders_are_named(tree, data_config, tmp_path):
    assert "data.root=DIR" in refusal(load_data, data_config(), "train")
    assert f"data.root={tmp_path / 'nowhere'}" in refusal(load_data, data_config(root=tmp_path / "nowhere"), "train")
    write, root = tree
    write("train/a/0.png", np.zeros((4, 4)))
    text = refusal(load_data, data_config(root=root), "test")
    assert "test/" in text and "val/" in text
    (root / "train").rename(root / "test")
    text = refusal(load_data, data_config(root=root), "train")
    assert str(root) in text and "train/" in text


def test_splits_of_other_classes_are_refused(tree, data_config):
    """A label is a position in a split's own list: with other folders in it, it means another class."""
    write, root = tree
    for place in ("train/ant/0.png", "train/bee/0.png", "train/cat/0.png", "test/ant/0.png", "test/cat/0.png"):
        write(place, np.zeros((4, 4)))
    assert load_data(data_config(root=root), "train").classes == ("ant", "bee", "cat")
    text = refusal(load_data, data_config(root=root), "test")
    assert f"{root / 'test'}: its class folders are not those of {root / 'train'} (bee)" in text
