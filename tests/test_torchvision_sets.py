"""torchvision's data sets: files of MNIST, the layouts of the others by stand-ins, and what is refused."""

import numpy as np
import pytest
import torch

from fa_repro.data import load_data
from fa_repro.data.image_set import resize
from refusals import refusal
from samples import picture


def _write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(head + array.tobytes())


def _write_mnist(root, name, n=20):
    written = {}
    for seed, (split, stem) in enumerate((("train", "train"), ("test", "t10k"))):
        images, labels = picture(seed, n, 28, 28), (np.arange(n) % 10).astype(np.uint8)
        _write_idx(root / name / "raw" / f"{stem}-images-idx3-ubyte", images)
        _write_idx(root / name / "raw" / f"{stem}-labels-idx1-ubyte", labels)
        written[split] = images, labels
    return written


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_mnist_files_are_read_as_they_are(tmp_path, data_config, name, folder):
    written = _write_mnist(tmp_path, folder)
    for split in ("train", "test"):
        data = load_data(data_config(name, tmp_path), split)
        assert data.images.shape == (20, 1, 28, 28) and data.images.dtype == torch.uint8
        assert np.array_equal(data.images.numpy()[:, 0], written[split][0])
        assert data.labels.tolist() == written[split][1].tolist() and data.labels.dtype == torch.int64
        assert data.rows.tolist() == list(range(20)) and len(data.classes) == 10
    assert not np.array_equal(written["train"][0], written["test"][0])
    assert data.classes[0] == {"mnist": "0 - zero", "fashion_mnist": "T-shirt/top"}[name]


def test_mnist_is_resized_where_a_size_is_asked_for(tmp_path, data_config):
    written = _write_mnist(tmp_path, "MNIST")
    data = load_data(data_config("mnist", tmp_path, image_size=14), "test")
    assert data.images.shape == (20, 1, 14, 14) and data.labels.tolist() == written["test"][1].tolist()
    assert torch.equal(data.images, resize(torch.from_numpy(written["test"][0])[:, None], 14))


def test_mnist_limits_are_stratified(tmp_path, data_config):
    _write_mnist(tmp_path, "MNIST", n=40)
    part = load_data(data_config("mnist", tmp_path, n_test=20), "test")
    assert part.labels.bincount().tolist() == [2] * 10
    assert "data.n_test=9" in refusal(load_data, data_config("mnist", tmp_path, n_test=9), "test")


@pytest.mark.parametrize("damage", [b"", b"\x00\x00", b"<html>not found</html>", "cut"])
def test_a_damaged_mnist_file_is_refused_in_one_line(tmp_path, data_config, damage):
    _write_mnist(tmp_path, "MNIST")
    file = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:5000] if damage == "cut" else damage)
    assert str(tmp_path) in refusal(load_data, data_config("mnist", tmp_path), "test")
    assert len(load_data(data_config("mnist", tmp_path), "train")) == 20


# Layouts


class _Fake:
    """Stands in for a class of torchvision's: remembers its arguments, holds arrays in the real one's layout."""

    calls: list

    def __init__(self, root, split, download):
        self.calls.append((root, split, download))


def _fake(monkeypatch, name, **attributes):
    cls = type(name, (_Fake,), attributes | {"calls": []})
    monkeypatch.setattr(f"torchvision.datasets.{name}", cls)
    return cls


NHWC, NCHW = picture(21, 4, 32, 32, 3), picture(22, 4, 3, 32, 32)
LABELS = [3, 1, 0, 2]


@pytest.mark.parametrize(("name", "cls"), [("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")])
def test_cifar_layout_is_converted(monkeypatch, data_config, name, cls):
    fake = _fake(monkeypatch, cls, data=NHWC, targets=list(LABELS), classes=["a", "b", "c", "d"])
    for split, is_train in (("train", True), ("test", False)):
        data = load_data(data_config(name, "here", download=is_train), split)
        assert fake.calls[-1] == ("here", is_train, is_train)
        for i, y, x, c in ((0, 0, 0, 0), (1, 2, 31, 1), (3, 31, 5, 2)):
            assert data.images[i, c, y, x] == NHWC[i, y, x, c]
        assert np.array_equal(data.images.numpy(), np.moveaxis(NHWC, 3, 1)) and data.images.is_contiguous()
        assert data.labels.tolist() == LABELS and data.labels.dtype == torch.int64
        assert data.classes == ("a", "b", "c", "d")


@pytest.mark.parametrize(("name", "cls"), [("svhn", "SVHN"), ("stl10", "STL10")])
@pytest.mark.parametrize("split", ["train", "test"])
def test_svhn_and_stl10_layouts_are_kept(monkeypatch, data_config, name, cls, split):
    named = {"classes": ["airplane", "bird", "car", "cat"]} if name == "stl10" else {}
    kind = np.uint8 if name == "stl10" else np.int64
    fake = _fake(monkeypatch, cls, data=NCHW, labels=np.array(LABELS, kind), **named)
    data = load_data(data_config(name, "here"), split)
    assert fake.calls == [("here", split, False)]
    assert np.array_equal(data.images.numpy(), NCHW)
    assert data.labels.tolist() == LABELS and data.labels.dtype == torch.int64
    assert data.classes == (tuple(named["classes"]) if named else tuple("0123456789"))


def test_mnist_tensors_get_their_channel(monkeypatch, data_config):
    images = torch.from_numpy(picture(23, 4, 28, 28))
    _fake(monkeypatch, "MNIST", data=images, targets=torch.tensor(LABELS), classes=list("0123"))
    data = load_data(data_config("mnist", "here"), "test")
    assert torch.equal(data.images, images[:, None]) and data.labels.tolist() == LABELS


def test_torchvisions_images_are_resized_to_the_size_asked_for():
    checks = torch.tensor([[0, 255], [255, 0]], dtype=torch.uint8).repeat(2, 2).expand(1, 3, 4, 4)
    assert torch.equal(resize(checks, 4), checks)
    assert torch.equal(resize(checks, 1), torch.full((1, 3, 1, 1), 128, dtype=torch.uint8))  # 127.5, to even
    stripes = torch.tensor([255, 255, 0, 0] * 2, dtype=torch.uint8).expand(1, 1, 8, 8)
    # Against aliasing a pixel reads as far as 4 pixels from its centre, with weights that fall linearly: the left one
    # 5, 7, 7, 5, 3, 1 of 28, so that it is 16/28 white, and the right one 12/28. Without it each reads the two pixels
    # at its centre alone, one of them white: 128.
    assert resize(stripes, 2).tolist() == [[[[146, 109]] * 2]]


# Refusals


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion_mnist", "mnist", "svhn", "stl10"])
def test_missing_sets_name_the_folder_and_the_way_out(tmp_path, data_config, name):
    text = refusal(load_data, data_config(name, tmp_path / "none"), "test")
    assert f"data={name}" in text and str(tmp_path / "none") in text
    assert "data.root=" in text and "data.download=true" in text


@pytest.mark.parametrize("name", ["cifar10", "mnist", "svhn", "stl10"])
def test_torchvisions_sets_need_a_root(data_config, name):
    assert "data.root=DIR" in refusal(load_data, data_config(name), "test")


def test_a_reader_that_is_not_installed_is_named(monkeypatch, data_config, tmp_path):
    def needs(*_, **__):  # as torchvision imports scipy for SVHN
        raise ModuleNotFoundError("No module named 'scipy'", name="scipy")

    monkeypatch.setattr("torchvision.datasets.SVHN", needs)
    assert refusal(load_data, data_config("svhn", tmp_path), "test").endswith(
        "data=svhn needs scipy: pip install scipy."
    )


def test_a_failed_download_is_one_line(monkeypatch, data_config):
    def fail(*_, **__):
        raise RuntimeError("Error downloading x:\nTried a\nTried b")

    monkeypatch.setattr("torchvision.datasets.MNIST", fail)
    text = refusal(load_data, data_config("mnist", "here", download=True), "test")
    assert "download failed" in text and "Error downloading x" in text and "data.download=true" not in text
