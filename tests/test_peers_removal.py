"""Removal, Grad-CAM and imputation against the definitions of others, and against their packages where installed.

Each definition stands here in NumPy and plain loops, so that its numbers are checked without the package; with the
extra ``peers`` the package itself is asked, too. RISE, torch-cam and Quantus agree with us on the order, the end points
and the area; where they differ (RISE's last step, Quantus's channels and its missing first point), a test says how.
"""

import contextlib
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import nn

import tiny
from fa_repro.attribution import METHODS, Context, grad_cam, occlusion, permutation
from fa_repro.attribution.patches import patch_numbers
from fa_repro.attribution.permutation import derangement
from fa_repro.models import Task, build_model
from fa_repro.removal import measure, noisy_linear
from fa_repro.removal.curves import readings, removal_readings
from fa_repro.removal.imputation import imputer, stand_in
from fa_repro.removal.noisy_linear import fill_linearly
from fa_repro.removal.ranking import rank_pixels, tie_break
from fa_repro.removal.statistics import area, percent_until_flip
from tiny import FA_CNN

N, SIDE, CLASSES = 4, 8, 3
P = SIDE * SIDE
FA = FA_CNN | {"maps_per_class": 4, "hidden": [6, 6], "scale": 2.0}
RESNET = tiny.RESNET | {"widths": [8, 16]}
SOURCES = ("definition", "package")
CLOSE = 1e-5  # of probabilities, in float32


def _network(config=FA, channels=3):
    torch.manual_seed(0)
    model = build_model(config, Task(CLASSES, channels, SIDE, [0.4] * channels, [0.3] * channels))
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.2)
            norm.running_var.uniform_(0.05, 0.5)
            norm.weight.data.uniform_(0.5, 2)
            norm.bias.data.normal_(0, 0.5)
    return model.eval().requires_grad_(False)


def _pixels(n=N, channels=3, seed=3):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, channels, SIDE, SIDE), generator=generator, dtype=torch.uint8)


def _maps(n=N):
    """Maps whose values all differ: every library breaks ties in its own way."""
    generator = torch.Generator().manual_seed(4)
    return torch.stack([torch.randperm(P, generator=generator) for _ in range(n)]).view(n, SIDE, SIDE) / P


def _moments(images):
    values = images.float() / 255
    return values.mean((0, 2, 3)), values.std((0, 2, 3))


def _measured(model, images, maps, counts, imputation="zero"):
    """Measure the given maps, both orders, with so many pixels gone, through the benchmark as a whole."""
    mean, std = _moments(images)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(METHODS, "random", lambda model, batch, targets, context: maps[context.rows])
        (measured,) = measure(
            model,
            images,
            torch.zeros(len(images), dtype=torch.int64),
            methods=["random"],
            orders=("morf", "lerf"),
            fractions=[count / maps[0].numel() for count in counts],
            imputations=[imputation],
            target="predicted",
            mean=mean,
            std=std,
            context=Context(batch_size=3),
        )
    assert measured.fractions.tolist() == [count / maps[0].numel() for count in counts]
    return measured


def _package(name):
    return pytest.importorskip(name, reason=f"{name} is not installed (pip install 'fa-repro[peers]')")


def _read(model, images, targets):
    """Return the targets' probabilities (n,) for a list of arrays (C,H,W)."""
    with torch.inference_mode():
        probabilities = model(torch.from_numpy(np.stack(images))).softmax(1).numpy()
    return probabilities[np.arange(len(images)), targets].astype(np.float64)


# -------------------------------------------------------------------------------------------------- RISE


def _rise(model, start, finish, target, saliency, step):
    """RISE's `CausalMetric`: a score before each edit and one after the last; all edits count as equally wide."""
    order = np.argsort(saliency.ravel())[::-1]
    current, edits, shown = start.copy(), math.ceil(P / step), []
    for edit in range(edits + 1):
        shown.append(current.copy())
        for position in order[step * edit : step * (edit + 1)]:
            current[:, position // SIDE, position % SIDE] = finish[:, position // SIDE, position % SIDE]
    scores = _read(model, shown, target)
    return scores, (scores.sum() - scores[0] / 2 - scores[-1] / 2) / edits


@pytest.mark.parametrize("imputation", ["zero", "mean", "blur"])  # RISE's zeros are the mean where a model normalises
@pytest.mark.parametrize("step", [1, 8])
def test_morf_is_rises_deletion_and_lerf_read_backwards_is_its_insertion(step, imputation):
    model, images, maps = _network(), _pixels(), _maps()
    measured = _measured(model, images, maps, range(0, P + 1, step), imputation)
    mean, std = _moments(images)
    values = images.float() / 255
    instead = stand_in(values, imputation, mean, std, torch.arange(N), N, 0).numpy()
    values = values.numpy()
    areas = area(measured.probability[0].swapaxes(0, 1), measured.fractions)
    for i, target in enumerate(measured.targets):
        scores, auc = _rise(model, values[i], instead[i], target, maps[i].numpy(), step)
        assert np.abs(measured.probability[0, 0, :, i] - scores).max() < CLOSE and abs(areas[0, i] - auc) < CLOSE
        scores, auc = _rise(model, instead[i], values[i], target, maps[i].numpy(), step)
        assert np.abs(measured.probability[0, 1, ::-1, i] - scores).max() < CLOSE and abs(areas[1, i] - auc) < CLOSE
    wrong = [_rise(model, values[i], instead[i], measured.targets[i], -maps[i].numpy(), step)[1] for i in range(N)]
    assert np.abs(areas[0] - wrong).max() > 1e-3


def test_rise_gives_a_step_cut_off_at_the_end_the_width_of_a_whole_one():
    model, images, maps, step = _network(), _pixels(), _maps(), 9  # 64 = 7 * 9 + 1
    measured = _measured(model, images, maps, [*range(0, P, step), P])
    curves = measured.probability[0, 0]
    expected = [
        _rise(model, image, np.zeros_like(image), target, one.numpy(), step)[1]
        for image, target, one in zip(images.float().numpy() / 255, measured.targets, maps, strict=True)
    ]
    assert np.abs(area(curves, np.linspace(0, 1, len(curves))) - expected).max() < CLOSE
    assert np.abs(area(curves, measured.fractions) - expected).max() > 1e-3  # ours: a step is as wide as it is


# ---------------------------------------------------------------------------------------------- torch-cam


class _Given:
    """What torch-cam's metric asks of an extractor, with maps that are given."""

    def __init__(self, model, maps):
        self.model, self.maps = model, maps

    def __call__(self, *_, **__):
        return [self.maps]

    def fuse_cams(self, maps):
        return maps[0]

    def _hooks_off(self):
        return contextlib.nullcontext()


def _torch_cam_counts(steps):
    return [*range(0, P, math.ceil(P / steps)), P]


def _torch_cam_definition(model, image, saliency, steps):
    """`DeletionInsertionMetric`: ceil(P / steps) pixels a step, end points, trapezoids over the true fractions."""
    target = int(model(image[None]).argmax())
    order = np.argsort(-saliency.numpy().ravel())
    counts, image = _torch_cam_counts(steps), image.numpy()
    deletion, insertion = [], []
    for count in counts:
        most = np.zeros(P, bool)
        most[order[:count]] = True
        most = most.reshape(SIDE, SIDE)
        deletion.append(np.where(most, np.float32(0), image))
        insertion.append(np.where(most, image, np.float32(0)))
    curves = (_read(model, shown, target) for shown in (deletion, insertion))
    return [
        sum((b - a) / P * (y + z) / 2 for a, b, y, z in zip(counts, counts[1:], curve, curve[1:], strict=False))
        for curve in curves
    ]


def _torch_cam_package(model, image, saliency, steps):
    metrics = _package("torchcam.metrics")
    if not hasattr(metrics, "DeletionInsertionMetric"):
        pytest.skip("torchcam before 0.5 has no DeletionInsertionMetric")
    extractor = _Given(model, saliency[None])
    metric = metrics.DeletionInsertionMetric(extractor, lambda logits: logits.softmax(1), steps=steps, batch_size=7)
    metric.update(image[None])
    found = metric.summary()
    return [found["deletion_auc"], found["insertion_auc"]]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("steps", [4, 6, 20])  # of 16, 11 and 4 pixels; 11 doesn't divide 64
def test_areas_are_torch_cams_deletion_and_insertion(steps, source):
    theirs = {"definition": _torch_cam_definition, "package": _torch_cam_package}[source]
    model, images, maps = _network(), _pixels(), _maps()
    counts = _torch_cam_counts(steps)
    # With c of the most relevant pixels back, the P - c least relevant ones are gone.
    deletion, insertion = (_measured(model, images, maps, c) for c in (counts, [P - c for c in reversed(counts)]))
    areas = np.stack([area(m.probability[0, o], m.fractions) for o, m in enumerate((deletion, insertion))], 1)
    values = images.float() / 255
    expected = np.array([theirs(model, *pair, steps) for pair in zip(values, maps, strict=True)])
    assert np.abs(areas - expected).max() < CLOSE
    rolled = np.array([theirs(model, *pair, steps) for pair in zip(values, maps.roll(1, 2), strict=True)])
    assert np.abs(areas - rolled).max() > 1e-3


# ------------------------------------------------------------------------------------------------ Quantus


def _quantus_definition(model, images, targets, maps, step):
    """`PixelFlipping`: scalars of all channels in the map's order, a step at a time; no reading of the intact image."""
    values = images.numpy().reshape(len(images), -1).copy()
    order = np.argsort(-np.broadcast_to(maps.numpy(), images.shape).reshape(values.shape), axis=1)
    curves = []
    for first in range(0, values.shape[1], step):
        np.put_along_axis(values, order[:, first : first + step], 0, axis=1)
        curves.append(_read(model, values.reshape(images.shape).copy(), targets))
    return np.array(curves)


def _quantus_package(model, images, targets, maps, step):
    quantus = _package("quantus")
    metric = quantus.PixelFlipping(features_in_step=step, normalise=False, perturb_baseline=0.0, disable_warnings=True)
    arrays = {"x_batch": images.numpy(), "y_batch": targets.numpy(), "a_batch": maps.numpy()}
    return np.array(metric(model=model, **arrays, softmax=True, channel_first=True, device="cpu", batch_size=3)).T


QUANTUS = {"definition": _quantus_definition, "package": _quantus_package}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("step", [1, 4, 16])
def test_the_curve_of_grey_images_is_quantus_pixel_flipping(step, source):
    model, images, maps = _network(channels=1), _pixels(channels=1), _maps()
    measured = _measured(model, images, maps, range(0, P + 1, step))
    targets = torch.from_numpy(measured.targets)
    curves = QUANTUS[source](model, images.float() / 255, targets, maps[:, None], step)
    ours = measured.probability[0, 0]
    assert curves.shape == (P // step, N)
    assert np.abs(ours[1:] - curves).max() < CLOSE
    assert np.abs(measured.probability[0, 1, 1:] - curves).max() > 1e-3  # LeRF is another curve
    # Its area is over steps, from the first one on: ours lacks nothing but the trapezoid from the intact image.
    theirs = np.trapezoid(curves, axis=0)
    assert np.abs(area(ours, measured.fractions) - (theirs + (ours[0] + ours[1]) / 2) * step / P).max() < CLOSE
    assert np.abs(area(ours, measured.fractions) - theirs * step / P).max() > 1e-3


class _Plane(nn.Module):
    """A model of colour images that sees the channels as one plane below another, (N,1,C*H,W)."""

    def __init__(self, model, channels):
        super().__init__()
        self.model, self.channels = model, channels

    def forward(self, plane):
        return self.model(plane.view(len(plane), self.channels, SIDE, SIDE))


@pytest.mark.parametrize("source", SOURCES)
def test_in_colour_pixel_flipping_flips_channels_unless_a_step_holds_whole_pixels(source):
    model, images, maps = _network(), _pixels(), _maps()
    measured = _measured(model, images, maps, range(0, P + 1, 4))
    targets, values = torch.from_numpy(measured.targets), images.float() / 255
    plane, tiled = values.view(N, 1, 3 * SIDE, SIDE), maps.repeat(1, 3, 1)[:, None]
    # The three channels of a pixel tie, and no other: twelve scalars are four pixels, in whatever order they come.
    curves = QUANTUS[source](_Plane(model, 3).eval(), plane, targets, tiled, 3 * 4)
    assert np.abs(measured.probability[0, 0, 1:] - curves).max() < CLOSE
    curves = QUANTUS[source](model, values, targets, maps[:, None], 4)  # as it is meant: four scalars a step
    assert len(curves) == 3 * P / 4
    assert np.abs(measured.probability[0, 0, 1:] - curves[: P // 4]).max() > 1e-3


# ----------------------------------------------------------------------------------------------- Grad-CAM


def _scaled(values):
    """From 0 to 1 in each image; pytorch-grad-cam and torch-cam keep nothing else of a map's values."""
    values = values - values.min(axis=(1, 2), keepdims=True)
    return values / (1e-7 + values.max(axis=(1, 2), keepdims=True))


def _enlarged(values):
    """Linear along rows, then columns, between the pixels' centres."""
    small = values.shape[1]
    places, centres = (np.arange(SIDE) + 0.5) / SIDE, (np.arange(small) + 0.5) / small
    for axis in (1, 2):
        values = np.apply_along_axis(lambda line: np.interp(places, centres, line), axis, values)
    return values


def _grad_cam_definition(model, images, targets):
    caught = []
    hook = model.last_feature_layer.register_forward_hook(lambda _, __, out: caught.append(out.requires_grad_()))
    logits = model(images)
    hook.remove()
    (gradients,) = torch.autograd.grad(logits[torch.arange(len(images)), targets].sum(), caught[0])
    weights = gradients.double().numpy().mean((2, 3))
    maps = np.maximum(np.einsum("nc,nchw->nhw", weights, caught[0].detach().double().numpy()), 0)
    return _scaled(_enlarged(_scaled(maps)))


def _pytorch_grad_cam_package(model, images, targets):
    library, chosen = _package("pytorch_grad_cam"), _package("pytorch_grad_cam.utils.model_targets")
    with library.GradCAM(model=model, target_layers=[model.last_feature_layer]) as cam:
        return cam(
            input_tensor=images.clone().requires_grad_(),
            targets=[chosen.ClassifierOutputTarget(int(t)) for t in targets],
        )


def _torch_cam_extractor(model, images, targets):
    with _package("torchcam.methods").GradCAM(model, model.last_feature_layer) as cam:
        maps = cam(targets.tolist(), model(images.clone().requires_grad_()))[0]
    return _scaled(_enlarged(maps.double().numpy()))


@pytest.mark.parametrize("config", [FA, RESNET], ids=["fa_cnn", "resnet"])
@pytest.mark.parametrize("source", ["definition", "pytorch-grad-cam", "torch-cam"])
def test_grad_cam_is_that_of_others_up_to_their_scaling(source, config):
    theirs = {
        "definition": _grad_cam_definition,
        "pytorch-grad-cam": _pytorch_grad_cam_package,
        "torch-cam": _torch_cam_extractor,
    }[source]
    model, images, targets = _network(config), _pixels() / 255, torch.tensor([2, 0, 1, 2])
    maps = grad_cam(model, images, targets).double().numpy()
    assert maps.max() > 0
    expected = theirs(model, images, targets)
    assert np.abs(_scaled(maps) - expected).max() < CLOSE
    assert np.abs(_scaled(grad_cam(model, images, targets.roll(1)).double().numpy()) - expected).max() > 1e-2


# ----------------------------------------------------------------------------------- captum, patch by patch


def test_occlusion_is_captums():
    captum = pytest.importorskip("captum.attr")
    model, images, targets = _network(), _pixels() / 255, torch.tensor([2, 0, 1, 2])
    colour = torch.tensor([0.2, 0.5, 0.9])
    window = {"sliding_window_shapes": (3, 4, 4), "strides": (3, 4, 4)}
    baselines = colour.view(1, 3, 1, 1).expand_as(images)
    expected = captum.Occlusion(model).attribute(images, target=targets, baselines=baselines, **window)[:, 0]
    maps = occlusion(model, images, targets, Context(colour=colour, upsampling="nearest", patch=4))
    assert maps.shape == expected.shape and (maps - expected).abs().max() < CLOSE * expected.abs().max()
    black = occlusion(model, images, targets, Context(upsampling="nearest", patch=4))
    assert (black - expected).abs().max() > 1e-2 * expected.abs().max()


def test_permutation_is_captums_with_the_same_donors():
    captum = pytest.importorskip("captum.attr")
    model, pool, targets = _network(), _pixels(), torch.tensor([2, 0, 1, 2])
    donors = derangement(N, torch.Generator().manual_seed(9))
    library = captum.FeaturePermutation(model, perm_func=lambda x, mask: torch.where(mask, x[donors], x))
    patches = patch_numbers((SIDE, SIDE), 4, pool.device)[None, None]
    expected = library.attribute(pool / 255, target=targets, feature_mask=patches)[:, 0]
    context = Context(pool=pool, upsampling="nearest", patch=4, repeats=1, seed=9)
    maps = permutation(model, pool / 255, targets, context)
    assert maps.shape == expected.shape and (maps - expected).abs().max() < CLOSE * expected.abs().max()
    others = captum.FeaturePermutation(model, perm_func=lambda x, mask: torch.where(mask, x.flip(0), x))
    expected = others.attribute(pool / 255, target=targets, feature_mask=patches)[:, 0]
    assert (maps - expected).abs().max() > 1e-2 * expected.abs().max()


# -------------------------------------------------------------------------------------------------- ROAD

SOLVED = 5e-5  # our solver stops at an error of 2e-5 of the image's range; the others solve directly


def _road_definition(image, kept):
    """The means of the neighbours, 1/6 over edges and 1/12 over corners within the image, as one dense system."""
    gone = ~kept.numpy().ravel()
    line = 2 * np.eye(SIDE) + np.eye(SIDE, k=1) + np.eye(SIDE, k=-1)
    weights = np.kron(line, line) / 12
    np.fill_diagonal(weights, 0)
    values = image.double().numpy().reshape(-1, P)
    system = (np.diag(weights.sum(1)) - weights)[np.ix_(gone, gone)]
    values[:, gone] = np.linalg.solve(system, weights[np.ix_(gone, ~gone)] @ values[:, ~gone].T).T
    return torch.from_numpy(values.reshape(image.shape))


def _road_package(image, kept):
    return _package("pytorch_grad_cam.metrics.road").NoisyLinearImputer(noise=0)(image, kept.float())


ROAD = {"definition": _road_definition, "package": _road_package}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("gone", [1, 13, 32, 58, 63])
def test_noisy_linear_is_roads_imputation(gone, source):
    images, mask = _pixels() / 255, _maps() < gone / P
    assert (mask.sum((1, 2)) == gone).all()
    expected = torch.stack([ROAD[source](*pair) for pair in zip(images, ~mask, strict=True)])
    assert (noisy_linear(images, mask, noise=0) - expected).abs().max() < SOLVED
    assert (noisy_linear(images, mask.roll(1, 2), noise=0) - expected).abs().max() > 1e-2


def _road_score_definition(model, image, target, saliency, percentile, least):
    values = 1 - saliency.numpy() if least else saliency.numpy()
    kept = torch.from_numpy(values < np.percentile(values, percentile))
    return _read(model, [_road_definition(image, kept).float().numpy()], [int(target)])[0]


def _road_score_package(model, image, target, saliency, percentile, least):
    road, chosen = _package("pytorch_grad_cam.metrics.road"), _package("pytorch_grad_cam.utils.model_targets")
    remove = road.RemoveLeastRelevantFirst if least else road.RemoveMostRelevantFirst
    metric = road.PerturbationConfidenceMetric(remove(percentile, road.NoisyLinearImputer(noise=0)))
    targets = [chosen.ClassifierOutputSoftmaxTarget(int(target))]
    return float(metric(image[None], saliency[None].numpy(), targets, model, return_diff=False)[0])


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("order", ["morf", "lerf"])
def test_a_reading_under_noisy_linear_is_the_score_of_pytorch_grad_cams_road(order, source):
    theirs = {"definition": _road_score_definition, "package": _road_score_package}[source]
    model, images, maps = _network(), _pixels() / 255, _maps()
    percentiles = (90, 70, 40)  # of the pixels kept: at 90, those from the place 0.9 * 63 = 56.7 on go, which are 7
    counts = [P - math.ceil(q / 100 * (P - 1)) for q in percentiles]
    assert counts == [7, 19, 38]
    with torch.inference_mode():
        targets = model(images).argmax(1)
    ranks = {o: rank_pixels(maps, o, tie_break(P, 0)) for o in ("morf", "lerf")}
    ours = {o: removal_readings(model, images, [fill_linearly], targets, [r], counts) for o, r in ranks.items()}
    expected = [
        [theirs(model, *triple, q, order == "lerf") for triple in zip(images, targets, maps, strict=True)]
        for q in percentiles
    ]
    other = "lerf" if order == "morf" else "morf"
    assert np.abs(ours[order][0][0].probability.numpy() - expected).max() < SOLVED
    assert np.abs(ours[other][0][0].probability.numpy() - expected).max() > 1e-3


@pytest.mark.parametrize("source", SOURCES)
def test_where_values_tie_roads_percentile_takes_more_than_was_asked_for(source):
    saliency = torch.zeros(SIDE, SIDE)
    saliency[0, :5] = torch.arange(1.0, 6)
    if source == "definition":
        kept = saliency.numpy() < np.percentile(saliency.numpy(), 50)
    else:
        remove = _package("pytorch_grad_cam.metrics.road").RemoveMostRelevantFirst(50, lambda image, kept: kept)
        kept = remove(torch.zeros(1, SIDE, SIDE), saliency).bool().numpy()
    assert not kept.any()  # half of the pixels were to stay
    ours = rank_pixels(saliency[None], "morf", tie_break(P, 0)) < P // 2
    assert ours.sum() == P // 2 and ours[0, 0, :5].all()


# ------------------------------------------------------------------------------- a 4x4 image, on paper


class _Odds(nn.Module):
    """Two classes on 4x4 images of one channel; the odds of class 0 are 3/2 times each white pixel's factor.

    logit 0 = ln(3/2) + sum of ln(factor) * pixel, logit 1 = 0, so that a probability is odds / (odds + 1).
    """

    def __init__(self, factors):
        super().__init__()
        self.weights = torch.tensor(factors).log()

    def forward(self, images):
        odds = math.log(1.5) + (images[:, 0] * self.weights).sum((1, 2))
        return torch.stack([odds, torch.zeros_like(odds)], 1)


def _probabilities(odds):
    return [value / (value + 1) for value in odds]


def test_a_four_by_four_image_on_paper():
    """A map with two leaders, two pixels that tie behind them, eleven zeros, and one below.

    Factors  4 . . .     Map  9 0 0 0     (dots: factor 1)
             . 3 . .          0 7 0 0
             . . 5 .          0 0 2 0
             1/6 . . 1/2      2 0 0 -1    (the two of value 2 have the factors 5 and 1/6)

    White image: odds 3/2 * 4 * 3 * 5 * 1/6 * 1/2 = 15/2, probability 15/17.
    MoRF: without the 4, 15/8; without the 3, too, 5/8, which is class 1. Then the tied pair in the seeded order:
    without the 5, 1/8, or without the 1/6, 15/4; without both, 3/4. The zeros change nothing; the 1/2 goes last: 3/2.
    LeRF: without the 1/2, 15; then the zeros; the pair in the same order, 3 or 90, then 18; without the 3, 6; without
    the 4, 3/2.
    """
    factors = [[4, 1, 1, 1], [1, 3, 1, 1], [1, 1, 5, 1], [1 / 6, 1, 1, 1 / 2]]
    maps = torch.tensor([[[9.0, 0, 0, 0], [0, 7, 0, 0], [0, 0, 2, 0], [2, 0, 0, -1]]])
    model, white = _Odds(factors).eval(), torch.full((1, 1, 4, 4), 255, dtype=torch.uint8)
    seed = Context().seed
    ties = tie_break(16, seed).tolist()
    five_first = ties.index(10) < ties.index(12)
    counts = [0, 1, 2, 3, 4, 12, 13, 14, 15, 16]
    measured = _measured(model, white, maps, counts)
    morf = [15 / 2, 15 / 8, 5 / 8, 1 / 8 if five_first else 15 / 4, 3 / 4, 3 / 4, 3 / 4, 3 / 4, 3 / 4, 3 / 2]
    lerf = [15 / 2, 15, 15, 15, 15, 15, 3 if five_first else 90, 18, 6, 3 / 2]
    for o, odds in enumerate((morf, lerf)):
        curve = measured.probability[0, o, :, 0]
        assert curve.tolist() == pytest.approx(_probabilities(odds), abs=1e-6)
        assert measured.kept[0, o, :, 0].tolist() == [value > 1 for value in odds]
        # Widths in sixteenths: 1 1 1 1 8 1 1 1 1.
        p, widths = _probabilities(odds), [1, 1, 1, 1, 8, 1, 1, 1, 1]
        by_hand = sum(w * (a + b) / 2 for w, a, b in zip(widths, p, p[1:], strict=False)) / 16
        assert area(curve, measured.fractions) == pytest.approx(by_hand, abs=1e-6)
    flips = percent_until_flip(measured.kept[0].swapaxes(0, 1)[:, :, 0], measured.fractions)
    assert flips.tolist() == [100 * 2 / 16, 100]  # MoRF at the second pixel, although it comes back; LeRF never
    assert measured.targets.tolist() == [0] and not measured.degenerate.any()
    swapped = maps.clone()
    swapped[0, 0, 0], swapped[0, 1, 1] = 7, 9
    other = _measured(model, white, swapped, counts).probability[0, 0, 1, 0]
    assert other == pytest.approx(2.5 / 3.5, abs=1e-6) and abs(other - measured.probability[0, 0, 1, 0]) > 0.05


# ------------------------------------------------------------------------------- what holds of any map

# Exact in float32 and often equal, so that ties are tried too.
some_maps = arrays(np.float32, (3, 4, 4), elements=st.integers(-4, 4).map(float))
quick = settings(max_examples=25, deadline=None)


class _Linear(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = torch.randn(CLASSES, 2, 4, 4, generator=torch.Generator().manual_seed(11))

    def forward(self, images):
        return (images[:, None] * self.weights).sum((2, 3, 4))


IMAGES = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(12))
TARGETS = torch.tensor([0, 2, 1])
COUNTS = [0, 1, 3, 8, 13, 15, 16]


def _impute(rows, kind="noise"):
    return imputer(IMAGES[rows], kind, torch.tensor([0.4, 0.6]), torch.tensor([0.2, 0.1]), rows, 3, 0)


def _readings(maps, order, ties, rows=(0, 1, 2)):
    rows = torch.tensor(rows)
    ranks = [rank_pixels(torch.as_tensor(maps)[rows], order, ties)]
    return removal_readings(_Linear(), IMAGES[rows], [_impute(rows)], TARGETS[rows], ranks, COUNTS)[0][0]


def _same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@quick
@given(some_maps, st.integers(0, 50))
def test_a_curve_knows_a_map_by_its_order_alone(maps, seed):
    maps, ties = torch.from_numpy(maps), tie_break(16, seed)
    curve = _readings(maps, "morf", ties)
    for transform in (lambda v: 0.25 * v + 3, torch.exp, torch.atan, lambda v: v**3):
        assert _same(_readings(transform(maps), "morf", ties), curve)
    assert _same(_readings(-maps, "lerf", ties), curve)


def test_the_tie_break_is_part_of_a_curve():
    maps = torch.zeros(3, 4, 4)
    ties = tie_break(16, 0)
    assert _same(_readings(maps, "morf", ties), _readings(maps, "lerf", ties))
    assert not _same(_readings(maps, "morf", ties), _readings(maps, "morf", tie_break(16, 1)))


@quick
@given(some_maps, st.sampled_from(["morf", "lerf"]), st.integers(0, 50))
def test_a_curve_goes_from_the_intact_image_to_the_imputed_one(maps, order, seed):
    curve = _readings(maps, order, tie_break(16, seed))
    everything = _impute(torch.arange(3))(IMAGES, torch.ones(3, 4, 4, dtype=torch.bool))
    with torch.inference_mode():
        first, last = (readings(_Linear()(x), TARGETS) for x in (IMAGES, everything))
    assert _same([field[0] for field in curve], first) and _same([field[-1] for field in curve], last)
    assert (first.logit - last.logit).abs().min() > 1e-3


@quick
@given(some_maps, st.permutations(range(3)), st.integers(0, 50))
def test_rows_go_with_their_images_in_any_batch(maps, places, seed):
    ties = tie_break(16, seed)
    curve = _readings(maps, "morf", ties)
    moved = _readings(maps, "morf", ties, places)
    alone = [_readings(maps, "morf", ties, [i]) for i in range(3)]
    for field in ("probability", "logit"):
        whole = getattr(curve, field)
        assert (getattr(moved, field) - whole[:, list(places)]).abs().max() < 1e-6
        assert (torch.cat([getattr(one, field) for one in alone], 1) - whole).abs().max() < 1e-6
