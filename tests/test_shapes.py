"""The embedded data set: its promises about pixels, masks and labels; neither colour nor size solves it."""

import hashlib

import numpy as np
import pytest

from fa_repro.data import shapes
from fa_repro.data.shapes import CLASSES, make_shapes, outlines, scene

COUNT = 1000
# Of the first 64 images, labels and masks of seed 0, split train.  Changed pixels need a new VERSION too.
FROZEN_VERSION = 2
FROZEN_SHA256 = "eb5ddce5ae7a8e30affee7b967a8abab8e11b3f843cbb511afbf20d87f163d11"


@pytest.fixture(scope="module")
def scenes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return make_shapes(COUNT, seed=5, split="train")


def _halves(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return values[: len(values) // 2], values[len(values) // 2 :]


def _nearest_mean_accuracy(features: np.ndarray, labels: np.ndarray) -> float:
    """Fit class means on the first half, score on the second."""
    (fit, score), (fit_labels, score_labels) = _halves(features), _halves(labels)
    means = np.stack([fit[fit_labels == label].mean(axis=0) for label in range(len(CLASSES))])
    guesses = ((score[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    return float((guesses == score_labels).mean())


def _mean_colour(images: np.ndarray, where: np.ndarray) -> np.ndarray:
    return (images * where[:, None]).sum(axis=(2, 3)) / where.sum(axis=(1, 2))[:, None]


def _pose(x: float, y: float, radius: float, stretch: tuple[float, float] = (1.0, 1.0)) -> tuple[np.ndarray, ...]:
    values = ([[x, y]], [radius], [0.0], [stretch])
    return tuple(np.array(value, dtype=np.float32) for value in values)


def test_shapes_and_types(scenes):
    images, labels, masks = scenes
    assert images.shape == (COUNT, 3, 32, 32) and images.dtype == np.uint8
    assert labels.shape == (COUNT,) and labels.dtype == np.int64
    assert masks.shape == (COUNT, 32, 32) and masks.dtype == np.bool_
    assert len(CLASSES) == len(set(CLASSES)) == len(scene.RADIUS_FACTORS) == 10


@pytest.mark.parametrize("n", [1, 7, 95, 100])
def test_labels_are_balanced(n):
    counts = np.bincount(make_shapes(n, seed=1, split="test", size=16)[1], minlength=len(CLASSES))
    assert counts.sum() == n
    assert counts.max() - counts.min() <= 1


def test_label_order_is_random(scenes):
    blocks = scenes[1].reshape(-1, len(CLASSES))
    assert len({tuple(block) for block in blocks}) > 90


def test_same_arguments_give_the_same_scenes_and_n_does_not_matter(monkeypatch):
    whole = make_shapes(90, seed=3, split="train")
    monkeypatch.setattr(scene, "CHUNK", 40)
    for n in (1, 33, 90):
        for part, all_of_it in zip(make_shapes(n, seed=3, split="train"), whole, strict=True):
            assert np.array_equal(part, all_of_it[:n])


def test_splits_and_seeds_differ():
    train = make_shapes(50, seed=3, split="train")
    for other in (make_shapes(50, seed=3, split="test"), make_shapes(50, seed=4, split="train")):
        assert not np.array_equal(train[1], other[1])
        assert not (train[0] == other[0]).all(axis=(1, 2, 3)).any()
        assert not (train[2] == other[2]).all(axis=(1, 2)).any()


def test_pixels_are_the_same_on_every_machine():
    digest = hashlib.sha256()
    for part in make_shapes(64, seed=0, split="train"):
        digest.update(part.astype(part.dtype.newbyteorder("<")).tobytes())
    assert (shapes.VERSION, digest.hexdigest()) == (FROZEN_VERSION, FROZEN_SHA256)


def test_objects_lie_wholly_inside_and_all_over_the_image(scenes):
    masks = scenes[2]
    edge = np.ones((32, 32), dtype=bool)
    edge[1:-1, 1:-1] = False
    assert not masks[:, edge].any()
    assert (masks.mean(axis=0)[8:24, 8:24] > 0.05).all()
    area = masks.sum(axis=(1, 2))
    middle = np.arange(32) + 0.5
    for profile in (masks.sum(axis=1), masks.sum(axis=2)):
        centre = (profile * middle).sum(axis=1) / area
        assert centre.std() > 3.5
        assert abs(centre.mean() - 16) < 0.6


def test_object_sizes(scenes):
    masks = scenes[2]
    extent = np.maximum(masks.any(axis=1).sum(axis=1), masks.any(axis=2).sum(axis=1))
    assert 9 <= extent.min() <= 11
    assert 17 <= extent.max() <= 20
    assert masks.sum(axis=(1, 2)).min() > 35


@pytest.mark.parametrize("size", [16, 32, 48])
def test_object_contrasts_with_its_surround(size):
    images, _, masks = make_shapes(300, seed=8, split="test", size=size)
    around = shapes.surround(masks)
    assert not (around & masks).any()
    distance = _mean_colour(images, masks) - _mean_colour(images, around)
    assert np.sqrt((distance**2).sum(axis=1)).min() >= shapes.MIN_CONTRAST


def test_colour_rule_falls_back_to_a_far_corner():
    around = np.array([[120.0, 120.0, 120.0], [20.0, 200.0, 127.0]], dtype=np.float32)
    same = np.repeat(around[:, None], 5, axis=1)  # candidates equal to what is around: none will do
    colour = scene._object_colour(same, around, same[:, :2], same)
    assert colour.tolist() == [[255.0, 255.0, 255.0], [255.0, 0.0, 255.0]]


def test_masks_are_where_the_object_was_drawn():
    """Against the same scene without its object: no pixel far from the mask changes, those inside do."""
    labels = np.arange(100) % len(CLASSES)
    images, masks, without = scene._draw_chunk(labels, scene._streams(2, "test"), 32)
    change = np.abs(images.astype(int) - without).max(axis=1)
    near = masks.copy()
    for axis in (1, 2):
        near = scene._grown(near, axis, 2)  # slender tips may fade out over two pixels
    assert not change[~near].any()
    assert np.median(change[masks]) > 80
    assert (change[masks] > 10).mean() > 0.995


def test_square_covers_the_pixels_computed_by_hand():
    """Sides at x = 11 and 21, y = 8 and 18; then the same square moved by a part of a pixel."""
    label = CLASSES.index("square")
    radius = 5.0 / outlines.SQUARE_HALF_SIDE
    expected = np.zeros((32, 32), dtype=np.uint8)
    expected[8:18, 11:21] = 9
    assert np.array_equal(outlines.coverage(label, *_pose(16.0, 13.0, radius), 32)[0], expected)
    # Moved right by 0.4: of its first column, points at 1/2 and 5/6 remain; of the next, 1/6 is reached.
    expected[8:18, 11], expected[8:18, 21] = 6, 3
    assert np.array_equal(outlines.coverage(label, *_pose(16.4, 13.0, radius), 32)[0], expected)


@pytest.mark.parametrize("label", range(len(CLASSES)), ids=CLASSES)
def test_outlines_fit_the_unit_circle_and_are_in_one_piece(label):
    points = np.linspace(-1.5, 1.5, 301)
    u, v = np.meshgrid(points, points)
    inside = outlines.OUTLINES[label](u, v)
    assert 0.6 < inside.mean() * 9 < 3.2
    assert (u * u + v * v)[inside].max() < 1.02
    # Grow one point inside the outline as far as it goes: it must reach all of it.
    reached = np.zeros_like(inside)
    reached.flat[np.flatnonzero(inside)[0]] = True
    while True:
        wider = scene._grown(scene._grown(reached, 0, 4), 1, 4) & inside
        if np.array_equal(wider, reached):
            break
        reached = wider
    assert np.array_equal(reached, inside)


def test_mirroring_and_rotation_turn_the_object():
    arrow = CLASSES.index("arrow")  # of a radius that puts no sample point on its outline
    right = outlines.coverage(arrow, *_pose(16.0, 16.0, 8.7), 32)[0]
    left = outlines.coverage(arrow, *_pose(16.0, 16.0, 8.7, (-1.0, 1.0)), 32)[0]
    assert not np.array_equal(left, right)
    assert np.array_equal(left, right[:, ::-1])
    centre, radius, _, stretch = _pose(16.0, 16.0, 8.7)
    quarter = outlines.coverage(arrow, centre, radius, np.ones(1, dtype=np.float32), stretch, 32)[0]
    assert np.array_equal(quarter, np.rot90(right, -1))  # tan(90 degrees / 2) = 1, clockwise


def test_colour_does_not_give_the_class_away(scenes):
    images, labels, _ = scenes
    bins = np.stack([(images >> 5 == step).mean(axis=(2, 3)) for step in range(8)], axis=1).reshape(COUNT, -1)
    assert _nearest_mean_accuracy(bins, labels) < 0.25
    assert _nearest_mean_accuracy(images.mean(axis=(2, 3)), labels) < 0.25
    assert _nearest_mean_accuracy(images.reshape(COUNT, -1).astype(np.float64), labels) < 0.25


def test_size_does_not_give_the_class_away(scenes):
    _, labels, masks = scenes
    area = masks.sum(axis=(1, 2)).astype(np.float64)
    extent = np.maximum(masks.any(axis=1).sum(axis=1), masks.any(axis=2).sum(axis=1)).astype(np.float64)
    assert _nearest_mean_accuracy(area[:, None], labels) < 0.3
    assert _nearest_mean_accuracy(extent[:, None], labels) < 0.3


def test_object_colours_say_nothing_either(scenes):
    images, labels, masks = scenes
    assert _nearest_mean_accuracy(_mean_colour(images, masks), labels) < 0.25


def test_the_control_would_notice_a_class_colour(scenes):
    """The nearest-mean classifier is no straw man: it reads a class's colour where there is one."""
    images, labels, _ = scenes
    tinted = images.mean(axis=(2, 3)) * 0.1 + labels[:, None] * np.array([20.0, 0.0, 0.0])
    assert _nearest_mean_accuracy(tinted, labels) > 0.7


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"split": "valid"}, "split"),
        ({"n": 0}, "n must"),
        ({"n": -3}, "n must"),
        ({"seed": -1}, "seed"),
        ({"size": 12}, "size"),
        ({"size": 30}, "size"),
        ({"size": 0}, "size"),
    ],
)
def test_bad_arguments_raise_one_clear_line(changed, message):
    arguments = {"n": 4, "seed": 0, "split": "train", "size": 32} | changed
    with pytest.raises(ValueError, match=message) as caught:
        make_shapes(arguments.pop("n"), **arguments)
    assert "\n" not in str(caught.value)


def test_progress_is_quiet_off_a_terminal(capsys):
    make_shapes(3, seed=0, split="train", progress=True)
    assert capsys.readouterr() == ("", "")
