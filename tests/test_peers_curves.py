"""Removal curves and their areas against RISE, torch-cam and Quantus.

They agree with us on the order, the end points and the area; where they differ (RISE's last step, Quantus's channels
and its missing first point), a test says how.
"""

import contextlib
import math

import numpy as np
import pytest
import torch
from torch import nn

from fa_repro.removal.areas import area
from fa_repro.removal.imputation import stand_in
from given_maps import measure_maps, moments
from peers import CLOSE, SIDE, SOURCES, N, P, distinct_maps, network, package, pixels, read

# RISE


def _rise(model, start, finish, target, saliency, step):
    """RISE's `CausalMetric`: a score before each edit and one after the last; all edits count as equally wide."""
    order = np.argsort(saliency.ravel())[::-1]
    current, edits, shown = start.copy(), math.ceil(P / step), []
    for edit in range(edits + 1):
        shown.append(current.copy())
        for position in order[step * edit : step * (edit + 1)]:
            current[:, position // SIDE, position % SIDE] = finish[:, position // SIDE, position % SIDE]
    scores = read(model, shown, target)
    return scores, (scores.sum() - scores[0] / 2 - scores[-1] / 2) / edits


@pytest.mark.parametrize("imputation", ["zero", "mean", "blur"])  # RISE's zeros are the mean where a model normalises
@pytest.mark.parametrize("step", [1, 8])
def test_morf_is_rises_deletion_and_lerf_read_backwards_is_its_insertion(step, imputation):
    model, images, maps = network(), pixels(), distinct_maps()
    measured = measure_maps(model, images, maps, range(0, P + 1, step), imputation)
    mean, std = moments(images)
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
    model, images, maps, step = network(), pixels(), distinct_maps(), 9  # 64 = 7 * 9 + 1
    measured = measure_maps(model, images, maps, [*range(0, P, step), P])
    curves = measured.probability[0, 0]
    expected = [
        _rise(model, image, np.zeros_like(image), target, one.numpy(), step)[1]
        for image, target, one in zip(images.float().numpy() / 255, measured.targets, maps, strict=True)
    ]
    assert np.abs(area(curves, np.linspace(0, 1, len(curves))) - expected).max() < CLOSE
    assert np.abs(area(curves, measured.fractions) - expected).max() > 1e-3  # ours: a step is as wide as it is


# torch-cam


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
    curves = (read(model, shown, target) for shown in (deletion, insertion))
    return [
        sum((b - a) / P * (y + z) / 2 for a, b, y, z in zip(counts, counts[1:], curve, curve[1:], strict=False))
        for curve in curves
    ]


def _torch_cam_package(model, image, saliency, steps):
    metrics = package("torchcam.metrics")
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
    model, images, maps = network(), pixels(), distinct_maps()
    counts = _torch_cam_counts(steps)
    # With c of the most relevant pixels back, the P - c least relevant ones are gone.
    deletion, insertion = (measure_maps(model, images, maps, c) for c in (counts, [P - c for c in reversed(counts)]))
    areas = np.stack([area(m.probability[0, o], m.fractions) for o, m in enumerate((deletion, insertion))], 1)
    values = images.float() / 255
    expected = np.array([theirs(model, *pair, steps) for pair in zip(values, maps, strict=True)])
    assert np.abs(areas - expected).max() < CLOSE
    rolled = np.array([theirs(model, *pair, steps) for pair in zip(values, maps.roll(1, 2), strict=True)])
    assert np.abs(areas - rolled).max() > 1e-3


# Quantus


def _quantus_definition(model, images, targets, maps, step):
    """`PixelFlipping`: scalars of all channels in the map's order, a step at a time; no reading of the intact image."""
    values = images.numpy().reshape(len(images), -1).copy()
    order = np.argsort(-np.broadcast_to(maps.numpy(), images.shape).reshape(values.shape), axis=1)
    curves = []
    for first in range(0, values.shape[1], step):
        np.put_along_axis(values, order[:, first : first + step], 0, axis=1)
        curves.append(read(model, values.reshape(images.shape).copy(), targets))
    return np.array(curves)


def _quantus_package(model, images, targets, maps, step):
    quantus = package("quantus")
    metric = quantus.PixelFlipping(features_in_step=step, normalise=False, perturb_baseline=0.0, disable_warnings=True)
    arrays = {"x_batch": images.numpy(), "y_batch": targets.numpy(), "a_batch": maps.numpy()}
    return np.array(metric(model=model, **arrays, softmax=True, channel_first=True, device="cpu", batch_size=3)).T


QUANTUS = {"definition": _quantus_definition, "package": _quantus_package}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("step", [1, 4, 16])
def test_the_curve_of_grey_images_is_quantus_pixel_flipping(step, source):
    model, images, maps = network(channels=1), pixels(channels=1), distinct_maps()
    measured = measure_maps(model, images, maps, range(0, P + 1, step))
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
    model, images, maps = network(), pixels(), distinct_maps()
    measured = measure_maps(model, images, maps, range(0, P + 1, 4))
    targets, values = torch.from_numpy(measured.targets), images.float() / 255
    plane, tiled = values.view(N, 1, 3 * SIDE, SIDE), maps.repeat(1, 3, 1)[:, None]
    # The three channels of a pixel tie, and no other: twelve scalars are four pixels, in whatever order they come.
    curves = QUANTUS[source](_Plane(model, 3).eval(), plane, targets, tiled, 3 * 4)
    assert np.abs(measured.probability[0, 0, 1:] - curves).max() < CLOSE
    curves = QUANTUS[source](model, values, targets, maps[:, None], 4)  # as it is meant: four scalars a step
    assert len(curves) == 3 * P / 4
    assert np.abs(measured.probability[0, 0, 1:] - curves[: P // 4]).max() > 1e-3
