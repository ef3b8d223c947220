"""Loss and accuracy of a data set, by hand."""

import math
from importlib import import_module

import pytest
import torch
from torch import nn

from fa_repro.data import ImageSet
from fa_repro.training import evaluate
from networks import equal
from samples import image_set


class Odds(nn.Module):
    """Two pixels, each 0 or 1, become logits: odds of 3 to 1 for the pixel that is lit."""

    def forward(self, images):
        return images.flatten(1) * math.log(3)


def two_pixels(pixels: list[list[int]], labels: list[int]) -> ImageSet:
    images = torch.tensor(pixels, dtype=torch.uint8).view(-1, 1, 1, 2)
    return ImageSet(images, torch.tensor(labels), torch.arange(len(labels)), ("left", "right"))


@pytest.mark.parametrize("batch", [1, 2, 3, 500])
def test_evaluate_by_hand(monkeypatch, batch):
    monkeypatch.setattr(import_module("fa_repro.training.evaluate"), "BATCH", batch)
    data = two_pixels([[255, 0], [0, 255], [255, 0], [255, 0], [0, 255]], [0, 0, 1, 0, 1])
    score = evaluate(Odds(), data)
    right, wrong = -math.log(3 / 4), -math.log(1 / 4)
    assert score.loss == pytest.approx((3 * right + 2 * wrong) / 5, rel=1e-6)
    assert score.top1 == 3 / 5


def test_evaluate_tells_labels_apart():
    pixels = [[255, 0], [0, 255]]
    assert evaluate(Odds(), two_pixels(pixels, [0, 1])).top1 == 1
    assert evaluate(Odds(), two_pixels(pixels, [1, 0])).top1 == 0
    assert evaluate(Odds(), two_pixels(pixels, [1, 1])).top1 == 0.5


def test_evaluate_uses_running_statistics_and_changes_nothing():
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(48, 2)).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    first, second = evaluate(model, image_set()), evaluate(model, image_set())
    assert first == second
    assert equal(before, model.state_dict())
    assert all(p.grad is None for p in model.parameters())
