"""Percent pixels removed on a linear model, against a loop in plain Python; others' metrics: test_peers_curves.py."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from fa_repro.attribution import METHODS, Context
from fa_repro.removal import measure, per_image_table
from fa_repro.removal.areas import area
from fa_repro.removal.curves import removal_readings, removed_counts
from fa_repro.removal.imputation import imputer, stand_in
from fa_repro.removal.ranking import rank_patches, rank_pixels, tie_break
from fa_repro.removal.units import Squares

SIDE, CHANNELS, CLASSES, N = 4, 2, 3, 7
P = SIDE * SIDE
MEAN, STD = torch.tensor([0.4, 0.6]), torch.tensor([0.2, 0.1])
ORDERS = ("morf", "lerf")
IMPUTATIONS = ("mean", "zero", "blur", "noise")  # those whose stand-in does not depend on the mask
EVERY_PIXEL = [i / P for i in range(P + 1)]


class Linear(nn.Module):
    """Logits linear in the pixels, with everything that the methods ask of a model."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(11)
        self.weights = torch.randn(CLASSES, CHANNELS, SIDE, SIDE, generator=generator)
        self.bias = torch.randn(CLASSES, generator=generator)
        self.last_feature_layer = nn.Identity()

    def forward(self, images):
        return (self.last_feature_layer(images)[:, None] * self.weights).sum((2, 3, 4)) + self.bias

    def class_maps(self, images):
        return (images[:, None] * self.weights).sum(2)

    def depth_terms(self, images):
        bias = self.bias[:, None, None].expand(len(images), -1, 1, 1)  # as the pixels' own term, spread evenly
        return [("bias", bias), ("weights", self.class_maps(images))]


@pytest.fixture(scope="module")
def model():
    return Linear().eval()


@pytest.fixture(scope="module")
def images():
    shape = (N, CHANNELS, SIDE, SIDE)
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(12), dtype=torch.uint8)


LABELS = torch.tensor([0, 1, 2, 0, 1, 2, 0])


def _measure(model, images, **changed):
    settings = {"methods": list(METHODS), "orders": ORDERS, "fractions": EVERY_PIXEL}
    settings |= {"target": "predicted", "mean": MEAN, "std": STD, "context": Context(patch=2, repeats=2, seed=5)}
    settings |= {"imputations": [changed.pop("imputation", "zero")]}
    (measured,) = measure(model, images, LABELS[: len(images)], **(settings | changed))
    return measured


def _stand_ins(images, imputation, seed=5):
    return stand_in(images.float() / 255, imputation, MEAN, STD, torch.arange(len(images)), len(images), seed)


def _positions(values, order, ties):
    """Return the order in which the pixels of a flat map go, in plain Python."""
    place = {position: i for i, position in enumerate(ties)}
    sign = -1 if order == "morf" else 1
    return sorted(range(len(values)), key=lambda p: (sign * values[p], place[p]))


def _plain_logits(model, flat):
    """Return the linear model's logits of an image as lists of channels, in float64 sums of plain Python."""
    logits = []
    for k in range(CLASSES):
        weights = model.weights[k].flatten(1).tolist()
        products = [w * v for ws, vs in zip(weights, flat, strict=True) for w, v in zip(ws, vs, strict=True)]
        logits.append(math.fsum(products) + float(model.bias[k]))
    return logits


def _plain_curve(model, image, instead, target, positions):
    """Remove pixel after pixel; return the target's probability, its logit and the prediction at 0 ... P removed."""
    flat, other = image.flatten(1).tolist(), instead.flatten(1).tolist()
    curve = []
    for step in range(len(positions) + 1):
        logits = _plain_logits(model, flat)
        weights = [math.exp(value) for value in logits]
        curve.append((weights[target] / sum(weights), logits[target], logits.index(max(logits))))
        if step < len(positions):
            for channel, new in zip(flat, other, strict=True):
                channel[positions[step]] = new[positions[step]]
    return curve


def _maps(model, images, method, targets):
    context = Context(colour=MEAN, pool=images, rows=torch.arange(len(images)), patch=2, repeats=2, seed=5)
    return METHODS[method](model, images.float() / 255, targets, context)


@pytest.mark.parametrize("imputation", IMPUTATIONS)
def test_every_step_is_that_of_a_plain_loop(model, images, imputation):
    measured = _measure(model, images, imputation=imputation)
    instead = _stand_ins(images, imputation)
    ties = tie_break(P, 5).tolist()
    assert measured.probability.shape == (len(METHODS), 2, P + 1, N)
    for m, method in enumerate(METHODS):
        maps = _maps(model, images, method, torch.from_numpy(measured.targets)).flatten(1).tolist()
        for o, order in enumerate(ORDERS):
            for i in range(N):
                positions = _positions(maps[i], order, ties)
                curve = _plain_curve(model, images[i].float() / 255, instead[i], measured.targets[i], positions)
                probability, logit, prediction = (np.array(values) for values in zip(*curve, strict=True))
                assert np.abs(measured.probability[m, o, :, i] - probability).max() < 1e-6
                assert np.abs(measured.logit[m, o, :, i] - logit).max() < 1e-5
                assert (measured.prediction[m, o, :, i] == prediction).all()


def test_the_plain_loop_tells_other_orders_apart(model, images):
    measured = _measure(model, images, methods=["feature_map"])
    maps = _maps(model, images, "feature_map", torch.from_numpy(measured.targets)).flatten(1).tolist()
    positions = _positions(maps[0], "morf", range(P))
    positions[3], positions[4] = positions[4], positions[3]  # two neighbours in the order, exchanged
    curve = _plain_curve(model, images[0].float() / 255, torch.zeros(CHANNELS, SIDE, SIDE), 0, positions)
    assert np.abs(measured.logit[0, 0, :, 0] - [logit for _, logit, _ in curve]).max() > 1e-3


@pytest.mark.parametrize("imputation", IMPUTATIONS)
def test_end_points_are_the_intact_and_the_imputed_image_for_every_method(model, images, imputation):
    measured = _measure(model, images, imputation=imputation, fractions=[0, 0.5, 1])
    with torch.inference_mode():
        ends = [model(x).softmax(1).numpy() for x in (images.float() / 255, _stand_ins(images, imputation))]
    for place, probabilities in ((0, ends[0]), (2, ends[1])):
        expected = probabilities[np.arange(N), measured.targets]
        assert np.abs(measured.probability[:, :, place] - expected).max() < 1e-6
        assert (measured.prediction[:, :, place] == probabilities.argmax(1)).all()
    assert np.ptp(measured.probability[:, :, 1], axis=0).max() > 0.01  # in between methods differ
    assert measured.kept[:, :, 0].all()


def test_counts_are_exactly_rounded():
    fractions = [i / 20 for i in range(21)]
    for positions in (16, 784, 1024, 9216):
        expected = [round(Fraction(i, 20) * positions) for i in range(21)]
        assert removed_counts(fractions, positions) == sorted(set(expected))
    assert removed_counts(fractions, 1024)[:4] == [0, 51, 102, 154]
    assert removed_counts(fractions, 1024)[:4] != [math.floor(f * 1024) for f in fractions[:4]]


def test_exactly_so_many_pixels_are_gone(images):
    seen = []

    class Spy(Linear):
        def forward(self, x):
            seen.append((x == 0).all(1).flatten(1).sum(1))
            return super().forward(x)

    fractions = [0, 0.1, 0.35, 0.8, 1]
    maps = torch.rand(N, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    whole = (images.float() / 255).clamp_min(0.1)
    ranks = [rank_pixels(maps, order, tie_break(P, 0)) for order in ORDERS]
    counts = removed_counts(fractions, P)
    assert counts == [0, 2, 6, 13, 16]
    blacken = imputer(whole, "zero", MEAN, STD, torch.arange(N), N, 0)
    (read,) = removal_readings(Spy().eval(), whole, [blacken], LABELS, ranks, counts)
    assert [gone.unique().tolist() for gone in seen] == [[0], [16], [2], [6], [13], [2], [6], [13]]
    assert len(read) == 2 and read[0].probability.shape == (5, N)


def test_fractions_are_reported_after_rounding_to_whole_pixels(model, images):
    measured = _measure(model, images, methods=["center"], fractions=[0, 0.1, 0.35, 1])
    assert measured.fractions.tolist() == [0, 2 / 16, 6 / 16, 1]


def test_ticks_add_up_to_the_images_read(model, images):
    ticks = []
    context = Context(patch=2, repeats=1, batch_size=3)
    methods = ["center", "random", "feature_map"]
    _measure(model, images, methods=methods, fractions=[0, 0.25, 0.5, 1], context=context, tick=ticks.append)
    assert sum(ticks) == N * (3 * 2 * 2 + 2)
    ticks.clear()
    settings = {"methods": methods, "orders": ORDERS, "fractions": [0, 0.25, 0.5, 1], "target": "label"}
    settings |= {"imputations": ["zero", "mean"], "mean": MEAN, "std": STD, "context": context}
    measure(model, images, LABELS, **settings, tick=ticks.append)
    assert sum(ticks) == N * (2 * (3 * 2 * 2 + 1) + 1)  # the intact images once for both


@pytest.mark.parametrize("imputation", ["noise", "blur", "noisy_linear"])
def test_the_batch_size_changes_nothing(model, images, imputation):
    whole, other, *parts = (
        _measure(model, images, imputation=imputation, context=Context(patch=2, repeats=2, **words))
        for words in ({"seed": 5}, {"seed": 6}, *({"seed": 5, "batch_size": size} for size in (1, 7)))
    )
    close = 1e-5 if imputation == "noisy_linear" else 1e-6  # two solutions to a tolerance are alike to that
    for part in parts:
        assert np.abs(whole.probability - part.probability).max() < close
        assert np.abs(whole.logit - part.logit).max() < 10 * close
        for field in ("prediction", "targets", "labels", "degenerate", "fractions"):
            assert np.array_equal(getattr(whole, field), getattr(part, field))
    assert np.abs(whole.probability - other.probability).max() > 1e-3


def test_the_seed_changes_noise_donors_and_ties_and_no_reading_along_the_feature_map(model, images):
    runs = [_measure(model, images, context=Context(patch=2, repeats=2, seed=seed)) for seed in (5, 6)]
    changed = np.abs(runs[0].probability - runs[1].probability).max(axis=(1, 2, 3)) > 1e-4
    assert {name for name, c in zip(METHODS, changed, strict=True) if c} >= {"random", "permutation", "center"}
    assert not changed[list(METHODS).index("feature_map")]
    noise = [
        _measure(model, images, methods=["feature_map"], imputation="noise", context=Context(seed=s)) for s in (5, 6)
    ]
    assert np.abs(noise[0].probability - noise[1].probability).max() > 1e-3


def test_targets_are_predictions_or_labels(model, images):
    with torch.inference_mode():
        predicted = model(images.float() / 255).argmax(1)
    assert (predicted != LABELS).any()
    by_prediction = _measure(model, images, methods=["feature_map"])
    by_label = _measure(model, images, methods=["feature_map"], target="label")
    assert by_prediction.targets.tolist() == predicted.tolist()
    assert by_label.targets.tolist() == LABELS.tolist() == by_label.labels.tolist() == by_prediction.labels.tolist()
    probabilities = (images.float() / 255)[:, None].mul(model.weights).sum((2, 3, 4)).add(model.bias).softmax(1)
    expected = probabilities[torch.arange(N), LABELS].numpy()
    assert np.abs(by_label.probability[0, 0, 0] - expected).max() < 1e-6
    assert by_label.kept[0, 0, 0].tolist() == (predicted == LABELS).tolist()


@pytest.mark.parametrize("target", [1, 2])
def test_one_class_is_the_target_of_every_image(model, images, target):
    measured = _measure(model, images, methods=["feature_map"], target=target)
    assert measured.targets.tolist() == [target] * N
    with torch.inference_mode():
        logits = model(images.float() / 255)
    assert np.abs(measured.logit[0, 0, 0] - logits[:, target].numpy()).max() < 1e-5
    kept = (logits.argmax(1) == target).tolist()
    assert measured.kept[0, 0, 0].tolist() == kept and any(kept) == (target == 1)  # it predicts nothing but 0 and 1


def test_imputations_share_maps_and_ranks_and_are_each_as_alone(model, images):
    kinds, explained = ["mean", "noisy_linear", "blur"], []

    class Counting(Linear):
        def class_maps(self, x):
            explained.append(len(x))
            return super().class_maps(x)

    settings = {"methods": ["feature_map", "random"], "orders": ORDERS, "fractions": [0, 0.25, 0.5, 1]}
    settings |= {"target": "predicted", "mean": MEAN, "std": STD, "context": Context(patch=2, repeats=1, seed=5)}
    together = measure(Counting().eval(), images, LABELS, imputations=kinds, **settings)
    assert sum(explained) == N  # one pass of maps for three imputations
    assert [one.imputation for one in together] == kinds
    for one, kind in zip(together, kinds, strict=True):
        (alone,) = measure(model, images, LABELS, imputations=[kind], **settings)
        assert np.abs(one.probability - alone.probability).max() < 1e-6  # as the same numbers lie elsewhere in memory
        assert np.array_equal(one.prediction, alone.prediction)
    assert np.abs(together[0].probability - together[1].probability).max() > 0.01


def test_noisy_linear_readings_are_those_of_the_images_imputed_one_by_one(model, images):
    measured = _measure(model, images, imputation="noisy_linear", methods=["random"], fractions=[0, 0.5, 1])
    values, ties = images.float() / 255, tie_break(P, 5)
    maps = _maps(model, images, "random", None)
    for i in range(N):
        rows = torch.tensor([i])
        impute = imputer(values[rows], "noisy_linear", MEAN, STD, rows, N, 5)
        for o, order in enumerate(ORDERS):
            gone = rank_pixels(maps[rows], order, ties) < P // 2
            for f, mask in ((1, gone), (2, torch.ones_like(gone))):
                without = impute(values[rows], mask)
                assert torch.equal(without[:, :, ~mask[0]], values[rows][:, :, ~mask[0]])
                expected = model(without)[0, measured.targets[i]]
                assert abs(measured.logit[0, o, f, i] - float(expected)) < 1e-4
                other = model(impute(values[rows], mask.flip(2)))[0, measured.targets[i]]
                if f == 1:
                    assert abs(measured.logit[0, o, f, i] - float(other)) > 1e-4


@pytest.mark.parametrize("order", ORDERS)
def test_whole_squares_go_by_their_mean_value(model, images, order):
    """Squares of 2x2 on 4x4 pixels: four steps of four pixels, by hand on images of the model's own making."""
    measured = _measure(model, images, methods=["feature_map"], orders=[order], units=Squares(2))
    assert measured.fractions.tolist() == [0, 0.25, 0.5, 0.75, 1]
    with torch.inference_mode():
        maps = model.class_maps(images.float() / 255)[torch.arange(N), torch.from_numpy(measured.targets)]
    for i in range(N):
        squares = [(y, x) for y in (0, 2) for x in (0, 2)]
        value = {s: maps[i, s[0] : s[0] + 2, s[1] : s[1] + 2].mean().item() for s in squares}
        image = images[i].float() / 255
        for f, square in enumerate(sorted(squares, key=value.get, reverse=order == "morf")):
            image[:, square[0] : square[0] + 2, square[1] : square[1] + 2] = 0
            logit = model(image[None])[0, measured.targets[i]].item()
            assert measured.logit[0, 0, f + 1, i] == pytest.approx(logit, abs=1e-5)
    single = _measure(model, images, methods=["feature_map"], orders=[order], fractions=[0, 0.25, 0.5, 0.75, 1])
    assert np.abs(single.logit[:, :, 1:4] - measured.logit[:, :, 1:4]).max() > 1e-3


def test_squares_that_tie_go_in_the_order_of_the_permutation():
    ties = torch.tensor([2, 0, 3, 1])
    ranks = rank_patches(torch.zeros(1, 2, 2), "morf", ties, 3)
    assert ranks.shape == (1, 6, 6)
    assert ranks[0, ::3, ::3].tolist() == [[9, 27], [0, 18]]
    assert all((ranks == r).sum() == 9 for r in (0, 9, 18, 27))


def test_steps_that_come_to_the_same_squares_are_one(model, images):
    assert removed_counts([0, 0.1, 0.3, 0.5, 1], 16, 4) == [0, 4, 8, 16]
    assert removed_counts([0, 0.1, 0.3, 0.5, 1], 16) == [0, 2, 5, 8, 16]
    measured = _measure(model, images, methods=["center"], units=Squares(2), fractions=[0, 0.1, 0.3, 0.5, 1])
    assert measured.fractions.tolist() == [0, 0.25, 0.5, 1] and measured.probability.shape == (1, 2, 4, N)


def test_constant_maps_are_reported(model, images):
    constant = Linear().eval()
    constant.weights = torch.ones_like(model.weights)
    grey = torch.full_like(images, 100)
    measured = _measure(constant, grey, methods=["feature_map", "random"])
    assert measured.degenerate.tolist() == [[True] * N, [False] * N]
    assert not _measure(model, images).degenerate.all(axis=1).any()


# ------------------------------------------------------------------------------------------- areas


def test_steps_of_unequal_width_need_their_true_fractions(model, images):
    measured = _measure(model, images, methods=["feature_map"], fractions=[count / P for count in (0, 7, 14, 16)])
    areas = [area(measured.probability[0, 0], f) for f in (measured.fractions, np.linspace(0, 1, 4))]
    assert np.abs(areas[0] - areas[1]).max() > 1e-3


def test_removing_least_relevant_first_or_at_random_gives_another_area(model, images):
    measured = _measure(model, images, methods=["feature_map", "random"])
    morf, lerf = (area(measured.probability[0, o], measured.fractions) for o in (0, 1))
    chance = area(measured.probability[1, 0], measured.fractions)
    assert (morf < lerf).all()
    assert morf.mean() < chance.mean() < lerf.mean()


# ------------------------------------------------------------------------------------- the table of images


def test_per_image_table_has_a_line_for_each_reading(model, images):
    measured = _measure(model, images, methods=["random", "feature_map"], fractions=[0, 0.3, 1])
    assert (measured.targets != measured.labels).any()
    rows = np.array([100, 3, 50, 7, 8, 9, 42])
    table = per_image_table(measured, rows)
    assert len(table) == 2 * 2 * 3 * N
    assert not table.duplicated(["image", "method", "order", "fraction"]).any()
    for m, method in enumerate(("random", "feature_map")):
        for o, order in enumerate(ORDERS):
            for f, fraction in enumerate((0, 0.3125, 1)):
                part = table[(table.method == method) & (table.order == order) & (table.fraction == fraction)]
                part = part.set_index("image").loc[rows]
                assert np.abs(part.target_probability - measured.probability[m, o, f]).max() <= 5e-7
                assert np.abs(part.target_logit - measured.logit[m, o, f]).max() <= 5.1e-6
                assert part.target.tolist() == measured.targets.tolist()
                assert part.kept.tolist() == (measured.prediction[m, o, f] == measured.targets).astype(int).tolist()
                assert part.correct.tolist() == (measured.prediction[m, o, f] == measured.labels).astype(int).tolist()
    assert (table.imputation == "zero").all()


def test_maps_are_timed(model, images):
    measured = _measure(model, images, methods=["center", "permutation"])
    assert (measured.seconds > 0).all() and measured.seconds.shape == (2,)
