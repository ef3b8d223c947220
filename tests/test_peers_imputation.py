"""Noisy linear imputation against ROAD: the filled images, the score of one, and its percentiles."""

import math

import numpy as np
import pytest
import torch

from fa_repro.removal.curves import removal_readings
from fa_repro.removal.noisy_linear import fill_linearly
from fa_repro.removal.ranking import rank_pixels, tie_break
from peers import SIDE, SOURCES, P, distinct_maps, network, package, pixels, read

SOLVED = (
    5e-5  # our solver stops at an error of 1e-5 of the image's range, as it estimates it; the others solve directly
)


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
    return package("pytorch_grad_cam.metrics.road").NoisyLinearImputer(noise=0)(image, kept.float())


ROAD = {"definition": _road_definition, "package": _road_package}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("gone", [1, 13, 32, 58, 63])
def test_noisy_linear_is_roads_imputation(gone, source):
    images, mask = pixels() / 255, distinct_maps() < gone / P
    assert (mask.sum((1, 2)) == gone).all()
    expected = torch.stack([ROAD[source](*pair) for pair in zip(images, ~mask, strict=True)])
    assert (fill_linearly(images, mask) - expected).abs().max() < SOLVED
    assert (fill_linearly(images, mask.roll(1, 2)) - expected).abs().max() > 1e-2


def _road_score_definition(model, image, target, saliency, percentile, least):
    values = 1 - saliency.numpy() if least else saliency.numpy()
    kept = torch.from_numpy(values < np.percentile(values, percentile))
    return read(model, [_road_definition(image, kept).float().numpy()], [int(target)])[0]


def _road_score_package(model, image, target, saliency, percentile, least):
    road, chosen = package("pytorch_grad_cam.metrics.road"), package("pytorch_grad_cam.utils.model_targets")
    remove = road.RemoveLeastRelevantFirst if least else road.RemoveMostRelevantFirst
    metric = road.PerturbationConfidenceMetric(remove(percentile, road.NoisyLinearImputer(noise=0)))
    targets = [chosen.ClassifierOutputSoftmaxTarget(int(target))]
    return float(metric(image[None], saliency[None].numpy(), targets, model, return_diff=False)[0])


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("order", ["morf", "lerf"])
def test_a_reading_under_noisy_linear_is_the_score_of_pytorch_grad_cams_road(order, source):
    theirs = {"definition": _road_score_definition, "package": _road_score_package}[source]
    model, images, maps = network(), pixels() / 255, distinct_maps()
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
        remove = package("pytorch_grad_cam.metrics.road").RemoveMostRelevantFirst(50, lambda image, kept: kept)
        kept = remove(torch.zeros(1, SIDE, SIDE), saliency).bool().numpy()
    assert not kept.any()  # half of the pixels were to stay
    ours = rank_pixels(saliency[None], "morf", tie_break(P, 0)) < P // 2
    assert ours.sum() == P // 2 and ours[0, 0, :5].all()
