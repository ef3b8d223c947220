"""What ``fa-repro benchmark-removal`` refuses in one line: words, checkpoints, images and classes that don't fit."""

import numpy as np
import pytest

from fa_repro.removal import superpixels
from refusals import one_line


def test_without_scikit_image_a_line_says_how_to_get_it(place, monkeypatch):
    monkeypatch.setattr(superpixels, "find_spec", lambda name: None)
    *answer, path = place.run("refused", "unit=superpixel")
    assert "pip install 'fa-repro[superpixels]'" in one_line(answer)
    assert not path.exists()


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
        ("n_images=1", ["permutation", "two images or more"]),
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


def folder_of(tree, classes, *channels):
    """Write an image of each class; return the words that name their folder."""
    write, root = tree
    for name in classes:
        write(f"test/{name}/0.png", np.full((16, 16, *channels), 90))
    return ["data=image_folder", f"data.root={root}", f"data.cache={root / 'cache'}"]


def test_images_of_another_size_are_refused(place, tree):
    text = one_line(place.run("size", "data.image_size=20")[:3])
    assert "3x16x16" in text and "3x20x20" in text
    text = one_line(place.run("grey", *folder_of(tree, place.test.classes))[:3])
    assert "1x16x16" in text


def test_images_of_another_number_of_classes_are_refused(place, tree):
    text = one_line(place.run("three", *folder_of(tree, "abc", 3))[:3])
    assert "10 classes" in text and " 3." in text


def test_images_of_other_classes_are_refused(place, tree):
    """As many classes as the model has, but not the same: their labels would count as right or wrong by chance."""
    words = folder_of(tree, [f"other{i}" for i in range(10)], 3)
    text = one_line(place.run("others", *words, "methods=[center]", "orders=[morf]", "fractions=[0,1]")[:3])
    assert "disk" in text and "other0" in text


def test_a_model_that_can_do_none_of_the_methods_is_refused(place):
    text = one_line(place.run("none", "methods=[feature_map,depth_map]", model="resnet_small")[:3])
    assert "methods=['feature_map', 'depth_map']" in text and "resnet_small" in text


def test_missing_data_is_refused(place, tmp_path):
    text = one_line(place.run("gone", "data=image_folder", f"data.root={tmp_path / 'gone'}")[:3])
    assert f"data.root={tmp_path / 'gone'}" in text
