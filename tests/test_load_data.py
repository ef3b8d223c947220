"""From a config to a data set: limits, seeds, the drawn set, and what is refused."""

import numpy as np
import pytest
import torch

from fa_repro.data import load_data, shapes, stratified
from refusals import refusal


@pytest.mark.parametrize("split", ["train", "test"])
def test_limits_choose_a_stratified_part_and_say_which(tree, data_config, split):
    write, root = tree
    for i in range(12):
        write(f"{split}/{'abc'[i % 3]}/{i:02}.png", np.full((2, 2), i))
    whole = load_data(data_config(root=root), split)
    part = load_data(data_config(root=root, **{f"n_{split}": 6}), split)
    assert part.labels.bincount().tolist() == [2, 2, 2]
    assert part.rows.tolist() == stratified(whole.labels, 6, 0).tolist() != list(range(6))
    assert torch.equal(part.images, whole.images[part.rows])
    other = {"n_train": 6, "n_test": 6} | {f"n_{split}": None}
    assert len(load_data(data_config(root=root, **other), split)) == 12  # the other split's limit is not this one's
    assert len(load_data(data_config(root=root, **{f"n_{split}": 12}), split)) == 12
    assert len(load_data(data_config(root=root, **{f"n_{split}": 99}), split)) == 12
    assert f"data.n_{split}=2" in refusal(load_data, data_config(root=root, **{f"n_{split}": 2}), split)
    assert load_data(data_config(root=root, **{f"n_{split}": 3}), split).labels.tolist() == [0, 1, 2]


def test_the_data_seed_chooses_the_part(tree, data_config):
    write, root = tree
    for i in range(20):
        write(f"train/{'ab'[i % 2]}/{i:02}.png", np.full((2, 2), i))
    first, again, other = (
        load_data(data_config(root=root, n_train=6, seed=s), "train").rows.tolist() for s in (0, 0, 1)
    )
    assert first == again != other
    assert load_data(data_config(root=root, n_train=6, seed=None), "train").rows.tolist() == first


def test_shapes_are_drawn_to_the_limits(data_config):
    data = {
        split: load_data(data_config("shapes", n_train=20, n_test=10, image_size=16), split)
        for split in ("train", "test")
    }
    for split, n in (("train", 20), ("test", 10)):
        images, labels, masks = shapes.make_shapes(n, seed=0, split=split, size=16)
        assert np.array_equal(data[split].images.numpy(), images)
        assert np.array_equal(data[split].labels.numpy(), labels)
        assert np.array_equal(data[split].masks.numpy(), masks)
        assert data[split].rows.tolist() == list(range(n)) and data[split].classes == shapes.CLASSES
    assert not torch.equal(data["train"].images[:10], data["test"].images)
    assert not torch.equal(
        load_data(data_config("shapes", n_test=10, image_size=16, seed=1), "test").images, data["test"].images
    )


def test_shapes_fewer_than_their_classes_are_refused_like_any_other_set(data_config):
    assert "data.n_train=9" in refusal(load_data, data_config("shapes", n_train=9, image_size=16), "train")


def test_shapes_of_a_size_that_can_not_be_drawn_are_refused(data_config):
    assert "multiple of 4" in refusal(load_data, data_config("shapes", n_train=10, image_size=18), "train")


def test_an_unknown_data_set_is_refused(data_config):
    assert "data.name=shape" in refusal(load_data, data_config("shape"), "train")
