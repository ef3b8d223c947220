"""The loss by which a map says nothing where pixels are gone."""

import math

import pytest
import torch

import tiny
from fa_repro.data import ImageSet
from fa_repro.data.augment import removal_mask
from fa_repro.errors import InputError
from fa_repro.models import Task, build_model
from fa_repro.training import Trainer
from fa_repro.training.locality import Estimating, divergence
from tiny import FA_CNN

FA = FA_CNN
RESNET = tiny.RESNET | {"widths": [4, 6]}
REMOVAL = {"crop": 0, "flip": False, "cutout": 0, "removal": 0.5}
RECIPE = tiny.RECIPE | {"epochs": 3, "batch_size": 8, "lr": 0.02, "locality": 1.0, "augment": REMOVAL}
COLOUR = torch.tensor([0.5, 0.5, 0.5])


def network(config=FA, seed=0):
    torch.manual_seed(seed)
    return build_model(config, Task(2, 3, 8, [0.5] * 3, [0.25] * 3))


def corners(n=32):
    """A white square in the upper left or the lower right corner says the class; the rest is noise."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 160, (n, 3, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.arange(n) % 2
    images[labels == 0, :, :4, :4] = 255
    images[labels == 1, :, 4:, 4:] = 255
    return ImageSet(images, labels, torch.arange(n), ("upper", "lower"))


def trainer(model=None, **recipe):
    return Trainer(model or network(), corners(), None, {**RECIPE, **recipe}, COLOUR, seed=0)


def test_the_estimate_is_the_sum_of_the_class_map_over_what_is_kept():
    model = network().eval()
    kept = torch.ones(2, 1, 8, 8)
    # Of the first image the columns 0 to 2 are gone: of the map's 4 columns the first, and half of the second.
    kept[0, :, :, :3] = 0
    kept[1, :, 2:] = 0
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    images = torch.where(kept.bool(), images, COLOUR.view(3, 1, 1))
    logits, estimate = Estimating(model)(images, kept)
    assert torch.allclose(logits, model(images), atol=1e-6)
    maps = model.head.scale * model.class_maps(images)  # (2,2,4,4)
    by_hand = [(maps[0, :, :, 1] / 2 + maps[0, :, :, 2] + maps[0, :, :, 3]).sum(1) / 16, maps[1, :, 0].sum(1) / 16]
    assert torch.allclose(estimate, torch.stack(by_hand), rtol=1e-5)
    assert not torch.allclose(estimate, torch.stack(by_hand[::-1]), rtol=1e-2)


@pytest.mark.parametrize("config", [FA, FA | {"head": "linear"}, RESNET], ids=["gap", "linear", "resnet"])
def test_nothing_removed_and_the_estimate_is_the_answer(config):
    model = network(config).eval()
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    logits, estimate = Estimating(model)(images, torch.ones(3, 1, 8, 8))
    assert torch.allclose(estimate, logits, atol=1e-6)


def test_divergence_by_hand():
    # Answers of 3 to 1 and 1 to 1; estimates of 1 to 1 and 1 to 3; the third does not count.
    logits = torch.tensor([[math.log(3), 0.0], [5.0, 5.0], [0.0, 9.0]], requires_grad=True)
    estimate = torch.tensor([[2.0, 2.0], [0.0, math.log(3)], [0.0, 0.0]], requires_grad=True)
    counts = torch.tensor([True, True, False])
    first = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    second = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    loss = divergence(estimate, logits, counts)
    assert loss.item() == pytest.approx((first + second) / 2, rel=1e-6)
    loss.backward()
    assert logits.grad is None  # the answer is given
    assert estimate.grad[:2].abs().min() > 0 and (estimate.grad[2] == 0).all()
    assert divergence(estimate, logits, torch.zeros(3, dtype=torch.bool)).item() == 0
    assert divergence(logits, logits, counts).item() == pytest.approx(0, abs=1e-7)


def holed():
    """Images without some of their pixels, their labels, and what is gone."""
    removed = removal_mask(32, (8, 8), 1.0, torch.Generator().manual_seed(4))
    data = corners()
    return torch.where(removed.mask[:, None], 0.5, data.images.float() / 255), data.labels, removed


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_training_with_it_silences_the_maps_where_pixels_are_gone(seed):
    images, labels, removed = holed()
    left = {}
    for weight in (0.0, 1.0):
        model = network(FA | {"scale": 100.0}, seed)
        run = trainer(model, locality=weight, epochs=60, batch_size=32, lr=0.01)
        for _ in range(60):
            run.step(images, labels, removed)
        with torch.no_grad():
            logits, estimate = Estimating(model.eval())(images, (~removed.mask)[:, None].float())
        left[weight] = divergence(estimate, logits, removed.together).item()
    assert left[1.0] < 0.5 * left[0.0]


@pytest.mark.parametrize("config", [FA, RESNET], ids=["gap", "resnet"])
def test_a_step_is_the_loss_of_the_answer_and_of_its_estimate(config):
    run = trainer(network(config))
    removed = removal_mask(8, (8, 8), 1.0, torch.Generator().manual_seed(4))
    assert removed.together.any() and not removed.together.all()
    images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    images = torch.where(removed.mask[:, None], COLOUR.view(3, 1, 1), images)
    labels = torch.arange(8) % 2
    with torch.no_grad():
        logits, estimate = Estimating(network(config))(images, (~removed.mask)[:, None].float())
        expected = torch.nn.functional.cross_entropy(logits, labels)
        expected = expected + divergence(estimate, logits, removed.together)
    assert run.step(images, labels, removed).item() == pytest.approx(expected.item(), rel=1e-5)


def test_where_nothing_is_removed_it_is_refused():
    with pytest.raises(InputError, match=r"trainer\.locality: nothing is removed.*trainer\.augment\.removal"):
        trainer(augment={"crop": 0, "flip": False, "cutout": 0, "removal": 0.0})
