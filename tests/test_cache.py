"""The cache of decoded images: when it is used, when it is made anew, and when it can not be written."""

import os
import resource

import numpy as np
import pytest
import torch
from PIL import Image

from fa_repro.data import load_data, shapes
from fa_repro.data.cache import cache_folder, cached
from samples import picture


def _forbid(monkeypatch, name):
    def refuse(*_, **__):
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(name, refuse)


def _same(a, b):
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and a.classes == b.classes


def _small_tree(tree):
    write, root = tree
    return [write(f"train/{name}/0.png", picture(i, 5, 5, 3)) for i, name in enumerate("ab")], root


def test_a_second_load_decodes_nothing(tree, data_config, monkeypatch):
    _, root = _small_tree(tree)
    first = load_data(data_config(root=root), "train")
    _forbid(monkeypatch, "PIL.Image.open")
    assert _same(load_data(data_config(root=root), "train"), first)
    for other in ({"image_size": 4}, {"cache": str(root / "other")}):  # made of something else: not from the cache
        with pytest.raises(AssertionError, match=r"Image\.open was called"):
            load_data(data_config(root=root, **other), "train")


def test_a_second_load_draws_no_shapes(data_config, monkeypatch):
    first = load_data(data_config("shapes", n_test=10, image_size=16), "test")
    _forbid(monkeypatch, "fa_repro.data.shapes.make_shapes")
    assert _same(load_data(data_config("shapes", n_test=10, image_size=16), "test"), first)
    for other in ({"seed": 1}, {"n_test": 11}, {"image_size": 20}):
        with pytest.raises(AssertionError, match="make_shapes was called"):
            load_data(data_config("shapes", **({"n_test": 10, "image_size": 16} | other)), "test")


def test_a_new_version_of_the_shapes_is_drawn_anew(data_config, monkeypatch):
    load_data(data_config("shapes", n_test=10, image_size=16), "test")
    monkeypatch.setattr(shapes, "VERSION", shapes.VERSION + 1)
    _forbid(monkeypatch, "fa_repro.data.shapes.make_shapes")
    with pytest.raises(AssertionError):
        load_data(data_config("shapes", n_test=10, image_size=16), "test")


def test_a_changed_file_is_decoded_anew(tree, data_config):
    (path, _), root = _small_tree(tree)
    before = load_data(data_config(root=root), "train").images.clone()
    state = path.stat()
    Image.fromarray(picture(99, 5, 5, 3)).save(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))
    after = load_data(data_config(root=root), "train").images
    assert np.array_equal(after.numpy()[0], picture(99, 5, 5, 3).transpose(2, 0, 1))
    assert not torch.equal(after[0], before[0]) and torch.equal(after[1], before[1])


def test_a_touched_file_is_decoded_anew(tree, data_config, monkeypatch):
    (path, _), root = _small_tree(tree)
    load_data(data_config(root=root), "train")
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))
    _forbid(monkeypatch, "PIL.Image.open")
    with pytest.raises(AssertionError, match=r"Image\.open was called"):
        load_data(data_config(root=root), "train")


def test_a_new_or_removed_file_counts(tree, data_config):
    write, root = tree
    _small_tree(tree)
    assert len(load_data(data_config(root=root), "train")) == 2
    extra = write("train/b/1.png", picture(5, 5, 5, 3))
    assert load_data(data_config(root=root), "train").labels.tolist() == [0, 1, 1]
    extra.unlink()
    assert len(load_data(data_config(root=root), "train")) == 2


@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_a_damaged_cache_file_is_made_anew_with_a_message(tree, data_config, tmp_path, capsys, monkeypatch, damage):
    _, root = _small_tree(tree)
    first = load_data(data_config(root=root), "train")
    pixels = first.images.clone()
    (file,) = (tmp_path / "cache").iterdir()
    content = file.read_bytes()
    file.unlink()  # what has been read stays mapped
    file.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "text": b"not a cache file"}[damage])
    assert capsys.readouterr().err == ""
    again = load_data(data_config(root=root), "train")
    assert torch.equal(again.images, pixels)
    message = capsys.readouterr().err
    assert str(file) in message and "damaged" in message and message.count("\n") == 1
    _forbid(monkeypatch, "PIL.Image.open")
    assert torch.equal(load_data(data_config(root=root), "train").images, pixels)  # and is whole again
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("folder", ["file/cache", "x" * 300])
def test_a_cache_that_can_not_be_written_costs_nothing_else(tree, data_config, tmp_path, capsys, folder):
    _, root = _small_tree(tree)
    first = load_data(data_config(root=root), "train")
    assert capsys.readouterr().err == ""
    (tmp_path / "file").write_text("no folder")
    assert _same(load_data(data_config(root=root, cache=str(tmp_path / folder)), "train"), first)
    message = capsys.readouterr().err
    assert "data.cache=DIR" in message and message.count("\n") == 1


def test_a_full_disk_costs_the_cache_alone(tmp_path, capsys):
    """A limit on the size of files stands in for the end of the disk."""
    values = torch.arange(100_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        made = cached(tmp_path / "cache", ["key"], lambda: {"values": values})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert torch.equal(made["values"], values)
    assert "data.cache=DIR" in capsys.readouterr().err
    assert not list((tmp_path / "cache").iterdir())


def test_the_cache_lies_where_it_was_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder(str(tmp_path / "mine")) == tmp_path / "mine"
    assert cache_folder(None) == tmp_path / "xdg" / "fa-repro"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder(None) == tmp_path / ".cache" / "fa-repro"


def test_loads_without_a_common_cache_give_equal_pixels(tree, data_config, tmp_path):
    _, root = _small_tree(tree)
    for keys in ({"name": "image_folder", "root": root}, {"name": "shapes", "n_train": 10, "image_size": 16}):
        one, two = (load_data(data_config(**keys, cache=str(tmp_path / folder)), "train") for folder in ("one", "two"))
        assert _same(one, two)
