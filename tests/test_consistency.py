"""The loss that holds the maps of an intact image against the answer to the image with pixels removed."""

import math

import pytest
import torch

import tiny
from fa_repro.data import ImageSet
from fa_repro.errors import InputError
from fa_repro.models import Task, build_model
from fa_repro.training import Trainer
from fa_repro.training.consistency import TwoViews, divergence
from tiny import FA_CNN

FA = FA_CNN
RESNET = tiny.RESNET | {"widths": [4, 6]}
RECIPE = tiny.RECIPE | {"epochs": 3, "batch_size": 8, "lr": 0.02, "consistency": 1.0}
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
    intact = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    kept = torch.ones(2, 1, 8, 8)
    # Of the first image the columns 0 to 2 are gone: of the map's 4 columns the first, and half of the second.
    kept[0, :, :, :3] = 0
    kept[1, :, 2:] = 0
    removed = torch.where(kept.bool(), intact, COLOUR.view(3, 1, 1))
    logits, estimate = TwoViews(model)(torch.cat([intact, removed]), kept)
    assert torch.allclose(logits, torch.cat([model(intact), model(removed)]), atol=1e-6)
    maps = model.head.scale * model.class_maps(intact)  # (2,2,4,4)
    by_hand = [(maps[0, :, :, 1] / 2 + maps[0, :, :, 2] + maps[0, :, :, 3]).sum(1) / 16, maps[1, :, 0].sum(1) / 16]
    assert torch.allclose(estimate, torch.stack(by_hand), rtol=1e-5)
    assert not torch.allclose(estimate, torch.stack(by_hand[::-1]), rtol=1e-2)


@pytest.mark.parametrize("config", [FA, FA | {"head": "linear"}, RESNET], ids=["gap", "linear", "resnet"])
def test_nothing_removed_and_the_estimate_is_the_answer(config):
    model = network(config).eval()
    images = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    logits, estimate = TwoViews(model)(torch.cat([images, images]), torch.ones(3, 1, 8, 8))
    assert torch.allclose(estimate, logits[:3], atol=1e-6)


def test_divergence_by_hand():
    # Answers of 3 to 1 and 1 to 1; estimates of 1 to 1 and 1 to 3; the third does not count.
    removed = torch.tensor([[math.log(3), 0.0], [5.0, 5.0], [0.0, 9.0]], requires_grad=True)
    estimate = torch.tensor([[2.0, 2.0], [0.0, math.log(3)], [0.0, 0.0]], requires_grad=True)
    counts = torch.tensor([True, True, False])
    first = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    second = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    loss = divergence(estimate, removed, counts)
    assert loss.item() == pytest.approx((first + second) / 2, rel=1e-6)
    loss.backward()
    assert removed.grad is None  # what the network says of the second view is given
    assert estimate.grad[:2].abs().min() > 0 and (estimate.grad[2] == 0).all()
    assert divergence(estimate, removed, torch.zeros(3, dtype=torch.bool)).item() == 0
    assert divergence(removed, removed, counts).item() == pytest.approx(0, abs=1e-7)


def told(model):
    """The divergence on the training images, without the upper half."""
    model.eval()
    images = corners().images.float() / 255
    kept = torch.ones(len(images), 1, 8, 8)
    kept[:, :, :4] = 0
    with torch.no_grad():
        logits, estimate = TwoViews(model)(torch.cat([images, torch.where(kept.bool(), images, 0.5)]), kept)
    return divergence(estimate, logits[len(images) :], torch.ones(len(images), dtype=torch.bool)).item()


def test_training_with_it_makes_the_maps_speak_for_their_surroundings():
    results = {}
    for weight in (0.0, 1.0):
        run = trainer(consistency=weight, epochs=20, augment={"crop": 0, "flip": False, "removal": 0.5 * (weight == 0)})
        run.fit(lambda: None)
        results[weight] = told(run.model)
    assert results[1.0] < 0.5 * results[0.0]


@pytest.mark.parametrize("config", [FA, RESNET], ids=["gap", "resnet"])
def test_a_step_is_the_loss_of_both_views(config):
    run = trainer(network(config))
    images = torch.rand(8, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    labels = torch.arange(8) % 2
    removed = run.draw_removed(8, torch.Generator().manual_seed(4))
    views = torch.cat([images, torch.where(removed.mask[:, None], COLOUR.view(3, 1, 1), images)])
    assert removed.together.any() and not removed.together.all()
    with torch.no_grad():
        run.model.train()
        logits, estimate = TwoViews(network(config))(views, (~removed.mask)[:, None].float())
        expected = torch.nn.functional.cross_entropy(logits, torch.cat([labels, labels]))
        expected = expected + divergence(estimate, logits[8:], removed.together)
    assert run.step(images, labels, removed).item() == pytest.approx(expected.item(), rel=1e-5)


def test_together_with_removal_it_is_refused():
    with pytest.raises(InputError, match=r"trainer\.consistency and trainer\.augment\.removal"):
        trainer(augment={"crop": 0, "flip": False, "removal": 0.5})


def test_the_last_epochs_alone_come_in_pairs(monkeypatch):
    run = trainer(epochs=4, consistency_epochs=2, augment={"crop": 0, "flip": False, "removal": 0.5})
    seen = []
    learn = run.step

    def step(images, labels, removed=None):
        hidden = (images == COLOUR.view(3, 1, 1)).all(1).flatten(1).any(1)
        seen.append((removed is not None, hidden.any().item()))
        return learn(images, labels, removed)

    monkeypatch.setattr(run, "step", step)
    run.fit(lambda: None)
    per_epoch = [set(seen[i : i + run.steps]) for i in range(0, len(seen), run.steps)]
    # Pixels are taken from the images themselves first, and from their second views after; never from both.
    assert per_epoch[2:] == [{(True, False)}] * 2
    assert all(not pairs for epoch in per_epoch[:2] for pairs, _ in epoch)
    assert all((False, True) in epoch for epoch in per_epoch[:2])


def test_pairs_in_all_epochs_are_the_same_named_or_not():
    named, unnamed = trainer(consistency_epochs=3), trainer()
    named.fit(lambda: None)
    unnamed.fit(lambda: None)
    assert [r["train_loss"] for r in named.history] == [r["train_loss"] for r in unnamed.history]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"consistency_epochs": 4}, r"trainer\.consistency_epochs=4: more than trainer\.epochs=3"),
        ({"consistency_epochs": 1, "consistency": 0.0}, r"consistency_epochs=1: without trainer\.consistency"),
        (
            {"consistency_epochs": 3, "augment": {"crop": 0, "flip": False, "removal": 0.5}},
            r"trainer\.consistency and trainer\.augment\.removal",
        ),
    ],
)
def test_epochs_in_pairs_that_contradict_the_recipe_are_refused(recipe, message):
    with pytest.raises(InputError, match=message):
        trainer(**recipe)
