"""Image sets, their subsets, images on disk, the cache of decoded images and torchvision's data sets."""

import os
import resource

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from fa_repro.data import ImageSet, load_data, shapes, stratified
from fa_repro.data.cache import cache_folder, cached
from fa_repro.errors import InputError


@pytest.fixture
def config(tmp_path):
    """Return a data config with every key, its cache in a folder of the test's own."""

    def make(name="image_folder", root=None, **keys):
        base = {"name": name, "root": None if root is None else str(root), "download": False, "mirror": True}
        base |= {"n_train": None, "n_test": None, "image_size": None, "cache": str(tmp_path / "cache"), "seed": 0}
        return base | keys

    return make


@pytest.fixture
def tree(tmp_path):
    """Return a writer of images below a root folder, and that root."""
    root = tmp_path / "images"

    def write(place, pixels, **save):
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **save)
        return path

    return write, root


def _pixels(seed, *shape):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def _refusal(config, split="train"):
    with pytest.raises(InputError) as caught:
        load_data(config, split)
    text = str(caught.value)
    assert "\n" not in text
    return text


def _numbered(n=6, size=3):
    images = torch.arange(n * 2 * size * size, dtype=torch.int64).remainder(256).to(torch.uint8).view(n, 2, size, size)
    return ImageSet(images, torch.arange(n) % 3, torch.arange(n), ("a", "b", "c"), images[:, 0] % 2 == 0)


# ------------------------------------------------------------------------------------------------ subsets


def test_stratified_keeps_class_shares_exactly():
    labels = torch.tensor([0] * 40 + [1] * 20 + [2] * 100)[
        torch.randperm(160, generator=torch.Generator().manual_seed(3))
    ]
    chosen = stratified(labels, 40, seed=1)
    assert torch.bincount(labels[chosen]).tolist() == [10, 5, 25]
    assert labels[:40].bincount().tolist() != [10, 5, 25]  # taking the first 40 would not do


@pytest.mark.parametrize("n", [1, 3, 17, 59, 100])
def test_stratified_is_within_one_image_of_each_class_share(n):
    labels = torch.tensor([4] * 7 + [0] * 31 + [2] * 62)
    counts = torch.bincount(labels[stratified(labels, n, seed=0)], minlength=5).double()
    wanted = n * torch.bincount(labels, minlength=5).double() / 100
    assert counts.sum() == n
    assert (counts - wanted).abs().max() < 1 + 1e-9


def test_stratified_is_sorted_distinct_and_seeded():
    labels = torch.arange(200) % 7
    first, again, other = (stratified(labels, 50, seed) for seed in (5, 5, 6))
    assert first.dtype == torch.int64 and len(first) == 50
    assert (first.diff() > 0).all()
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_stratified_of_all_returns_all():
    assert stratified(torch.tensor([2, 0, 0, 1, 2]), 5, seed=9).tolist() == [0, 1, 2, 3, 4]


def test_stratified_reaches_every_image_over_the_seeds():
    labels = torch.arange(12) % 2
    assert {i for seed in range(60) for i in stratified(labels, 2, seed).tolist()} == set(range(12))


# --------------------------------------------------------------------------------------------- ImageSet


@pytest.mark.parametrize("index", [torch.tensor([4, 0, 4]), torch.tensor([False, True, True, False, False, True])])
def test_select_takes_every_field_alike(index):
    whole = _numbered()
    part = whole.select(index)
    places = index if index.dtype == torch.int64 else index.nonzero()[:, 0]
    assert len(part) == 3
    for field in ("images", "labels", "rows", "masks"):
        expected = np.stack([getattr(whole, field).numpy()[i] for i in places])
        assert np.array_equal(getattr(part, field).numpy(), expected)
    assert part.classes == whole.classes


def test_select_of_a_selection_still_knows_the_rows_of_the_whole_set():
    part = _numbered().select(torch.tensor([5, 3, 1])).select(torch.tensor([2, 0]))
    assert part.rows.tolist() == [1, 5]
    assert torch.equal(part.images, _numbered().images[[1, 5]])


def test_a_set_without_masks_selects_and_moves():
    whole = _numbered()
    bare = ImageSet(whole.images, whole.labels, whole.rows, whole.classes).select(torch.tensor([0]))
    assert bare.masks is None and bare.to(torch.device("cpu")).masks is None


def test_statistics_are_numpys_mean_and_deviation():
    images = _pixels(0, 11, 3, 5, 7)
    images[:, 1] //= 9  # channels differ
    images[:, 2] = 200
    mean, std = ImageSet(torch.from_numpy(images), torch.zeros(11), torch.arange(11), ("a",)).statistics()
    values = images.astype(np.float64) / 255
    np.testing.assert_allclose(mean, values.mean(axis=(0, 2, 3)), rtol=0, atol=1e-12)
    np.testing.assert_allclose(std, values.std(axis=(0, 2, 3)), rtol=0, atol=1e-7)  # of a constant: sqrt of a rounding
    assert not np.allclose(std, values.std(axis=(2, 3)).mean(axis=0), rtol=0, atol=1e-4)


# -------------------------------------------------------------------------------------- images on disk


@pytest.mark.parametrize("test_name", ["test", "val"])
def test_image_folder_reads_classes_in_alphabetical_order(tree, config, test_name):
    write, root = tree
    written = {}
    for split in ("train", test_name):
        for i, name in enumerate(("zebra", "ant", "Mole")):  # written in another order
            for k in range(2):
                written[split, name, k] = _pixels(10 * i + k + len(split), 6, 6, 3)
                write(f"{split}/{name}/{k}.png", written[split, name, k])
    for split, folder in (("train", "train"), ("test", test_name)):
        data = load_data(config(root=root), split)
        assert data.classes == ("Mole", "ant", "zebra") == tuple(sorted(data.classes))
        assert data.labels.tolist() == [0, 0, 1, 1, 2, 2] and data.labels.dtype == torch.int64
        assert data.rows.tolist() == list(range(6))
        expected = [written[folder, name, k].transpose(2, 0, 1) for name in data.classes for k in range(2)]
        assert np.array_equal(data.images.numpy(), expected)


def test_test_folder_is_preferred_to_val(tree, config):
    write, root = tree
    for split, grey in (("train", 1), ("test", 2), ("val", 3)):
        write(f"{split}/a/0.png", np.full((4, 4), grey))
    assert load_data(config(root=root), "test").images.unique().tolist() == [2]


def test_pixels_of_a_file_written_by_hand(tree, config):
    write, root = tree
    write("train/a/0.pgm", np.zeros((2, 2))).write_bytes(b"P5 2 2 255\n" + bytes([0, 10, 200, 255]))
    assert load_data(config(root=root), "train").images.tolist() == [[[[0, 10], [200, 255]]]]


def test_jpeg_pixels_are_pils(tree, config):
    write, root = tree
    path = write("train/a/photo.JPG", _pixels(1, 16, 16, 3), quality=60)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    got = load_data(config(root=root), "train").images.numpy()[0]
    assert np.array_equal(got, expected)
    assert not np.array_equal(got, _pixels(1, 16, 16, 3).transpose(2, 0, 1))  # it went through the codec


def test_grey_images_alone_have_one_channel_and_mixed_ones_three(tree, config):
    write, root = tree
    grey, colour = _pixels(2, 5, 5), _pixels(3, 5, 5, 3)
    write("train/a/grey.png", grey)
    alone = load_data(config(root=root), "train").images
    assert alone.shape == (1, 1, 5, 5) and np.array_equal(alone.numpy()[0, 0], grey)
    write("train/b/colour.png", colour)
    mixed = load_data(config(root=root), "train").images.numpy()
    assert np.array_equal(mixed, [np.stack([grey] * 3), colour.transpose(2, 0, 1)])


def test_palette_and_transparent_images_become_rgb(tree, config):
    write, root = tree
    colour = np.repeat(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8), 2, axis=0)
    path = write("train/a/palette.png", colour)
    Image.fromarray(colour).quantize(2).save(path)
    Image.fromarray(colour).convert("RGBA").save(path.with_name("transparent.png"))
    images = load_data(config(root=root), "train").images.numpy()
    assert np.array_equal(images, [colour.transpose(2, 0, 1)] * 2)


def test_sixteen_bit_grey_keeps_its_shades_or_is_refused(tree, config):
    write, root = tree
    values = (np.arange(16, dtype=np.uint16) * 4000).reshape(4, 4)
    Image.fromarray(values).save(write("train/a/deep.png", np.zeros((4, 4))))
    try:
        images = load_data(config(root=root), "train").images.numpy()
    except InputError:
        return
    assert np.abs(images[0, 0].astype(int) - values // 256).max() <= 1


def test_image_size_fits_by_pils_bilinear_and_centre(tree, config):
    write, root = tree
    paths = [write("train/a/wide.png", _pixels(4, 9, 14, 3)), write("train/a/tall.png", _pixels(5, 20, 8, 3))]
    paths.append(write("train/a/zfit.png", _pixels(6, 8, 8, 3)))
    expected = []
    for path in sorted(paths):
        with Image.open(path) as image:
            expected.append(np.asarray(ImageOps.fit(image, (8, 8), Image.Resampling.BILINEAR)).transpose(2, 0, 1))
    got = load_data(config(root=root, image_size=8), "train").images.numpy()
    assert np.array_equal(got, expected)
    assert np.array_equal(got[2], _pixels(6, 8, 8, 3).transpose(2, 0, 1))  # already of that size: untouched


def test_differing_sizes_name_the_file_and_the_way_out(tree, config):
    write, root = tree
    write("train/a/0.png", np.zeros((6, 6)))
    odd = write("train/a/1.png", np.zeros((6, 7)))
    text = _refusal(config(root=root))
    assert str(odd) in text and "7x6" in text and "data.image_size" in text
    assert load_data(config(root=root, image_size=6), "train").images.shape == (2, 1, 6, 6)


def test_images_that_are_not_square_need_an_image_size(tree, config):
    write, root = tree
    path = write("train/a/0.png", np.zeros((4, 6)))
    text = _refusal(config(root=root))
    assert str(path) in text and "6x4" in text and "data.image_size" in text
    assert load_data(config(root=root, image_size=4), "train").images.shape == (1, 1, 4, 4)


@pytest.mark.parametrize("damage", [b"", b"no image at all", "cut"])
def test_a_broken_image_is_named(tree, config, damage):
    write, root = tree
    good = write("train/a/0.png", _pixels(7, 12, 12, 3))
    broken = write("train/a/1.jpg", _pixels(8, 12, 12, 3))
    broken.write_bytes(broken.read_bytes()[:-100] if damage == "cut" else damage)
    text = _refusal(config(root=root))
    assert str(broken) in text and str(good) not in text


def test_a_link_to_nowhere_is_named(tree, config):
    write, root = tree
    link = write("train/a/0.png", np.zeros((4, 4))).with_name("1.png")
    link.symlink_to(root / "gone.png")
    assert str(link) in _refusal(config(root=root))


def test_an_empty_class_folder_is_named(tree, config):
    write, root = tree
    write("train/a/0.png", np.zeros((4, 4)))
    (root / "train" / "hollow").mkdir()
    text = _refusal(config(root=root))
    assert "hollow" in text and str(root / "train") in text


def test_a_split_without_class_folders_is_named(tree, config):
    write, root = tree
    write("train/0.png", np.zeros((4, 4)))
    assert str(root / "train") in _refusal(config(root=root))


def test_missing_folders_are_named(tree, config, tmp_path):
    assert "data.root=DIR" in _refusal(config())
    assert f"data.root={tmp_path / 'nowhere'}" in _refusal(config(root=tmp_path / "nowhere"))
    write, root = tree
    write("train/a/0.png", np.zeros((4, 4)))
    assert "test/" in _refusal(config(root=root), "test") and "val/" in _refusal(config(root=root), "test")
    (root / "train").rename(root / "test")
    text = _refusal(config(root=root), "train")
    assert str(root) in text and "train/" in text


def test_splits_of_other_classes_are_refused(tree, config):
    """A label is a position in a split's own list: with other folders in it, it means another class."""
    write, root = tree
    for place in ("train/ant/0.png", "train/bee/0.png", "train/cat/0.png", "test/ant/0.png", "test/cat/0.png"):
        write(place, np.zeros((4, 4)))
    train = load_data(config(root=root), "train")
    try:
        test = load_data(config(root=root), "test")
    except InputError:
        return
    assert [test.classes[i] for i in test.labels] == [train.classes[i] for i in test.labels] == ["ant", "cat"]


# ------------------------------------------------------------------------------------------------ limits


@pytest.mark.parametrize("split", ["train", "test"])
def test_limits_choose_a_stratified_part_and_say_which(tree, config, split):
    write, root = tree
    for i in range(12):
        write(f"{split}/{'abc'[i % 3]}/{i:02}.png", np.full((2, 2), i))
    whole = load_data(config(root=root), split)
    part = load_data(config(root=root, **{f"n_{split}": 6}), split)
    assert part.labels.bincount().tolist() == [2, 2, 2]
    assert part.rows.tolist() == stratified(whole.labels, 6, 0).tolist() != list(range(6))
    assert torch.equal(part.images, whole.images[part.rows])
    other = {"n_train": 6, "n_test": 6} | {f"n_{split}": None}
    assert len(load_data(config(root=root, **other), split)) == 12  # the other split's limit is not this one's
    assert len(load_data(config(root=root, **{f"n_{split}": 12}), split)) == 12
    assert len(load_data(config(root=root, **{f"n_{split}": 99}), split)) == 12
    assert f"data.n_{split}=2" in _refusal(config(root=root, **{f"n_{split}": 2}), split)
    assert load_data(config(root=root, **{f"n_{split}": 3}), split).labels.tolist() == [0, 1, 2]


def test_the_data_seed_chooses_the_part(tree, config):
    write, root = tree
    for i in range(20):
        write(f"train/{'ab'[i % 2]}/{i:02}.png", np.full((2, 2), i))
    first, again, other = (load_data(config(root=root, n_train=6, seed=s), "train").rows.tolist() for s in (0, 0, 1))
    assert first == again != other
    assert load_data(config(root=root, n_train=6, seed=None), "train").rows.tolist() == first


def test_shapes_are_drawn_to_the_limits(config):
    data = {
        split: load_data(config("shapes", n_train=20, n_test=10, image_size=16), split) for split in ("train", "test")
    }
    for split, n in (("train", 20), ("test", 10)):
        images, labels, masks = shapes.make_shapes(n, seed=0, split=split, size=16)
        assert np.array_equal(data[split].images.numpy(), images)
        assert np.array_equal(data[split].labels.numpy(), labels)
        assert np.array_equal(data[split].masks.numpy(), masks)
        assert data[split].rows.tolist() == list(range(n)) and data[split].classes == shapes.CLASSES
    assert not torch.equal(data["train"].images[:10], data["test"].images)
    assert not torch.equal(
        load_data(config("shapes", n_test=10, image_size=16, seed=1), "test").images, data["test"].images
    )


def test_shapes_fewer_than_their_classes_are_refused_like_any_other_set(config):
    assert "data.n_train=9" in _refusal(config("shapes", n_train=9, image_size=16))


def test_shapes_of_a_size_that_can_not_be_drawn_are_refused(config):
    assert "multiple of 4" in _refusal(config("shapes", n_train=10, image_size=18))


def test_an_unknown_data_set_is_refused(config):
    assert "data.name=shape" in _refusal(config("shape"))


# ------------------------------------------------------------------------------------------------- cache


def _forbid(monkeypatch, name):
    def refuse(*_, **__):
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(name, refuse)


def _same(a, b):
    return torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) and a.classes == b.classes


def _small_tree(tree):
    write, root = tree
    return [write(f"train/{name}/0.png", _pixels(i, 5, 5, 3)) for i, name in enumerate("ab")], root


def test_a_second_load_decodes_nothing(tree, config, monkeypatch):
    _, root = _small_tree(tree)
    first = load_data(config(root=root), "train")
    _forbid(monkeypatch, "PIL.Image.open")
    assert _same(load_data(config(root=root), "train"), first)
    for other in ({"image_size": 4}, {"cache": str(root / "other")}):  # made of something else: not from the cache
        with pytest.raises(AssertionError, match=r"Image\.open was called"):
            load_data(config(root=root, **other), "train")


def test_a_second_load_draws_no_shapes(config, monkeypatch):
    first = load_data(config("shapes", n_test=10, image_size=16), "test")
    _forbid(monkeypatch, "fa_repro.data.shapes.make_shapes")
    assert _same(load_data(config("shapes", n_test=10, image_size=16), "test"), first)
    for other in ({"seed": 1}, {"n_test": 11}, {"image_size": 20}):
        with pytest.raises(AssertionError, match="make_shapes was called"):
            load_data(config("shapes", **({"n_test": 10, "image_size": 16} | other)), "test")


def test_a_new_version_of_the_shapes_is_drawn_anew(config, monkeypatch):
    load_data(config("shapes", n_test=10, image_size=16), "test")
    monkeypatch.setattr(shapes, "VERSION", shapes.VERSION + 1)
    _forbid(monkeypatch, "fa_repro.data.shapes.make_shapes")
    with pytest.raises(AssertionError):
        load_data(config("shapes", n_test=10, image_size=16), "test")


def test_a_changed_file_is_decoded_anew(tree, config):
    (path, _), root = _small_tree(tree)
    before = load_data(config(root=root), "train").images.clone()
    state = path.stat()
    Image.fromarray(_pixels(99, 5, 5, 3)).save(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))
    after = load_data(config(root=root), "train").images
    assert np.array_equal(after.numpy()[0], _pixels(99, 5, 5, 3).transpose(2, 0, 1))
    assert not torch.equal(after[0], before[0]) and torch.equal(after[1], before[1])


def test_a_touched_file_is_decoded_anew(tree, config, monkeypatch):
    (path, _), root = _small_tree(tree)
    load_data(config(root=root), "train")
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000))
    _forbid(monkeypatch, "PIL.Image.open")
    with pytest.raises(AssertionError, match=r"Image\.open was called"):
        load_data(config(root=root), "train")


def test_a_new_or_removed_file_counts(tree, config):
    write, root = tree
    _small_tree(tree)
    assert len(load_data(config(root=root), "train")) == 2
    extra = write("train/b/1.png", _pixels(5, 5, 5, 3))
    assert load_data(config(root=root), "train").labels.tolist() == [0, 1, 1]
    extra.unlink()
    assert len(load_data(config(root=root), "train")) == 2


@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_a_damaged_cache_file_is_made_anew_with_a_message(tree, config, tmp_path, capsys, monkeypatch, damage):
    _, root = _small_tree(tree)
    first = load_data(config(root=root), "train")
    pixels = first.images.clone()
    (file,) = (tmp_path / "cache").iterdir()
    content = file.read_bytes()
    file.unlink()  # what has been read stays mapped
    file.write_bytes({"empty": b"", "cut": content[: len(content) // 2], "text": b"not a cache file"}[damage])
    assert capsys.readouterr().err == ""
    again = load_data(config(root=root), "train")
    assert torch.equal(again.images, pixels)
    message = capsys.readouterr().err
    assert str(file) in message and "damaged" in message and message.count("\n") == 1
    _forbid(monkeypatch, "PIL.Image.open")
    assert torch.equal(load_data(config(root=root), "train").images, pixels)  # and is whole again
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("folder", ["file/cache", "x" * 300])
def test_a_cache_that_can_not_be_written_costs_nothing_else(tree, config, tmp_path, capsys, folder):
    _, root = _small_tree(tree)
    first = load_data(config(root=root), "train")
    assert capsys.readouterr().err == ""
    (tmp_path / "file").write_text("no folder")
    assert _same(load_data(config(root=root, cache=str(tmp_path / folder)), "train"), first)
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


def test_loads_without_a_common_cache_give_equal_pixels(tree, config, tmp_path):
    _, root = _small_tree(tree)
    for keys in ({"name": "image_folder", "root": root}, {"name": "shapes", "n_train": 10, "image_size": 16}):
        one, two = (load_data(config(**keys, cache=str(tmp_path / folder)), "train") for folder in ("one", "two"))
        assert _same(one, two)


# ------------------------------------------------------------------------------------ torchvision's sets


def _write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    head = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(head + array.tobytes())


def _write_mnist(root, name, n=20):
    written = {}
    for seed, (split, stem) in enumerate((("train", "train"), ("test", "t10k"))):
        images, labels = _pixels(seed, n, 28, 28), (np.arange(n) % 10).astype(np.uint8)
        _write_idx(root / name / "raw" / f"{stem}-images-idx3-ubyte", images)
        _write_idx(root / name / "raw" / f"{stem}-labels-idx1-ubyte", labels)
        written[split] = images, labels
    return written


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion_mnist", "FashionMNIST")])
def test_mnist_files_are_read_as_they_are(tmp_path, config, name, folder):
    written = _write_mnist(tmp_path, folder)
    for split in ("train", "test"):
        data = load_data(config(name, tmp_path), split)
        assert data.images.shape == (20, 1, 28, 28) and data.images.dtype == torch.uint8
        assert np.array_equal(data.images.numpy()[:, 0], written[split][0])
        assert data.labels.tolist() == written[split][1].tolist() and data.labels.dtype == torch.int64
        assert data.rows.tolist() == list(range(20)) and len(data.classes) == 10
    assert not np.array_equal(written["train"][0], written["test"][0])
    assert data.classes[0] == {"mnist": "0 - zero", "fashion_mnist": "T-shirt/top"}[name]


def test_mnist_limits_are_stratified(tmp_path, config):
    _write_mnist(tmp_path, "MNIST", n=40)
    part = load_data(config("mnist", tmp_path, n_test=20), "test")
    assert part.labels.bincount().tolist() == [2] * 10
    assert "data.n_test=9" in _refusal(config("mnist", tmp_path, n_test=9), "test")


@pytest.mark.parametrize("damage", [b"", b"\x00\x00", b"<html>not found</html>", "cut"])
def test_a_damaged_mnist_file_is_refused_in_one_line(tmp_path, config, damage):
    _write_mnist(tmp_path, "MNIST")
    file = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:5000] if damage == "cut" else damage)
    assert str(tmp_path) in _refusal(config("mnist", tmp_path), "test")
    assert len(load_data(config("mnist", tmp_path), "train")) == 20


class _Fake:
    """Stands in for a class of torchvision's: remembers its arguments, holds arrays in the real one's layout."""

    calls: list

    def __init__(self, root, split, download):
        self.calls.append((root, split, download))


def _fake(monkeypatch, name, **attributes):
    cls = type(name, (_Fake,), attributes | {"calls": []})
    monkeypatch.setattr(f"torchvision.datasets.{name}", cls)
    return cls


NHWC, NCHW = _pixels(21, 4, 32, 32, 3), _pixels(22, 4, 3, 32, 32)
LABELS = [3, 1, 0, 2]


@pytest.mark.parametrize(("name", "cls"), [("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")])
def test_cifar_layout_is_converted(monkeypatch, config, name, cls):
    fake = _fake(monkeypatch, cls, data=NHWC, targets=list(LABELS), classes=["a", "b", "c", "d"])
    for split, is_train in (("train", True), ("test", False)):
        data = load_data(config(name, "here", download=is_train), split)
        assert fake.calls[-1] == ("here", is_train, is_train)
        for i, y, x, c in ((0, 0, 0, 0), (1, 2, 31, 1), (3, 31, 5, 2)):
            assert data.images[i, c, y, x] == NHWC[i, y, x, c]
        assert np.array_equal(data.images.numpy(), np.moveaxis(NHWC, 3, 1)) and data.images.is_contiguous()
        assert data.labels.tolist() == LABELS and data.labels.dtype == torch.int64
        assert data.classes == ("a", "b", "c", "d")


@pytest.mark.parametrize(("name", "cls"), [("svhn", "SVHN"), ("stl10", "STL10")])
@pytest.mark.parametrize("split", ["train", "test"])
def test_svhn_and_stl10_layouts_are_kept(monkeypatch, config, name, cls, split):
    named = {"classes": ["airplane", "bird", "car", "cat"]} if name == "stl10" else {}
    kind = np.uint8 if name == "stl10" else np.int64
    fake = _fake(monkeypatch, cls, data=NCHW, labels=np.array(LABELS, kind), **named)
    data = load_data(config(name, "here"), split)
    assert fake.calls == [("here", split, False)]
    assert np.array_equal(data.images.numpy(), NCHW)
    assert data.labels.tolist() == LABELS and data.labels.dtype == torch.int64
    assert data.classes == (tuple(named["classes"]) if named else tuple("0123456789"))


def test_mnist_tensors_get_their_channel(monkeypatch, config):
    images = torch.from_numpy(_pixels(23, 4, 28, 28))
    _fake(monkeypatch, "MNIST", data=images, targets=torch.tensor(LABELS), classes=list("0123"))
    data = load_data(config("mnist", "here"), "test")
    assert torch.equal(data.images, images[:, None]) and data.labels.tolist() == LABELS


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion_mnist", "mnist", "svhn", "stl10"])
def test_missing_sets_name_the_folder_and_the_way_out(tmp_path, config, name):
    text = _refusal(config(name, tmp_path / "none"), "test")
    assert f"data={name}" in text and str(tmp_path / "none") in text
    assert "data.root=" in text and "data.download=true" in text


@pytest.mark.parametrize("name", ["cifar10", "mnist", "svhn", "stl10"])
def test_torchvisions_sets_need_a_root(config, name):
    assert "data.root=DIR" in _refusal(config(name), "test")


def test_a_failed_download_is_one_line(monkeypatch, config):
    def fail(*_, **__):
        raise RuntimeError("Error downloading x:\nTried a\nTried b")

    monkeypatch.setattr("torchvision.datasets.MNIST", fail)
    text = _refusal(config("mnist", "here", download=True), "test")
    assert "download failed" in text and "Error downloading x" in text and "data.download=true" not in text


def test_torchvisions_images_are_resized_to_the_size_asked_for():
    from fa_repro.data.image_set import resize

    checks = torch.tensor([[0, 255], [255, 0]], dtype=torch.uint8).repeat(2, 2).expand(1, 3, 4, 4)
    assert torch.equal(resize(checks, 4), checks)
    assert torch.equal(resize(checks, 1), torch.full((1, 3, 1, 1), 128, dtype=torch.uint8))  # 127.5, to even
