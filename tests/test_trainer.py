"""The training loop: its history, its loss, the order of images, and how it goes on."""

import pytest
import torch
from torch import nn

import tiny
from fa_repro import device
from fa_repro.data import ImageSet
from fa_repro.data.augment import augment
from fa_repro.errors import InputError
from fa_repro.models import build_model
from fa_repro.training import HISTORY, Trainer, evaluate
from networks import equal, task
from samples import image_set
from tiny import FA_CNN, ONE_STAGE

RECIPE = tiny.RECIPE | {"epochs": 3, "batch_size": 4, "weight_decay": 0.05, "schedule": "onecycle", "warmup": 0.25}


def trainer(seed: int = 0, model_seed: int = 0, val: ImageSet | None = None, n: int = 10, **recipe) -> Trainer:
    torch.manual_seed(model_seed)
    model = build_model(FA_CNN | ONE_STAGE, task(2, image_size=4))
    return Trainer(model, image_set(n), val, {**RECIPE, **recipe}, torch.tensor([0.5, 0.5, 0.5]), seed)


def test_a_training_has_a_row_for_each_epoch():
    saved = []
    run = trainer(val=image_set(6, seed=1), schedule="cosine")
    run.fit(lambda: saved.append(len(run.history)))
    assert saved == [1, 2, 3]
    assert [row["epoch"] for row in run.history] == [1, 2, 3]
    assert all(tuple(row) == HISTORY for row in run.history)
    # Three epochs of two steps: the rate after each epoch is that of steps 2, 4 and 6 of 6.
    assert [row["lr"] for row in run.history] == pytest.approx([0.0075, 0.0025, 0.0], abs=1e-9)
    score = evaluate(run.model, run.val)
    assert (run.history[-1]["val_loss"], run.history[-1]["val_top1"]) == (score.loss, score.top1)


def test_without_validation_images_its_columns_are_empty():
    run = trainer(epochs=1)
    run.fit(lambda: None)
    assert run.history[0]["val_loss"] is None and run.history[0]["val_top1"] is None
    assert run.history[0]["train_loss"] > 0


def test_the_training_loss_is_the_mean_over_the_steps():
    # At a rate of next to nothing the weights stay, so that the loss can be computed beside it.
    run = trainer(n=8, epochs=1, batch_size=8, optimizer="sgd", momentum=0.0, lr=1e-30, label_smoothing=0.2)
    model, data = run.model.train(), run.train
    log_p = model(data.images.float() / 255).log_softmax(1)
    true = log_p[torch.arange(8), data.labels]
    expected = -(0.8 * true + 0.1 * log_p.sum(1)).mean().item()
    run.fit(lambda: None)
    assert run.history[0]["train_loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fp32_is_trained_without_tf32_forward_and_backward(monkeypatch, precision):
    cudnn, seen = torch.backends.cudnn, []
    monkeypatch.setattr(cudnn, "allow_tf32", True)
    run = trainer(epochs=1, n=8, precision=precision)
    for module in run.model.modules():
        module.register_forward_pre_hook(lambda *_: seen.append(cudnn.allow_tf32))
    for weight in run.model.parameters():
        weight.register_hook(lambda _: seen.append(cudnn.allow_tf32))
    run.fit(lambda: None)
    assert set(seen) == {precision != "fp32"} and len(seen) > 2 * len(list(run.model.parameters()))
    assert cudnn.allow_tf32


class Noting(nn.Module):
    """Notes the first pixel of each image that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 2)
        self.seen: list[list[int]] = []

    def forward(self, images):
        first = images[:, 0, 0, 0]
        self.seen.append((first * 255).round().int().tolist())
        return self.linear(first[:, None])


def noted(seed: int, epochs: int = 3) -> list[list[int]]:
    data = image_set(10)
    data.images[:, 0, 0, 0] = torch.arange(10, dtype=torch.uint8)
    model = Noting()
    Trainer(model, data, None, {**RECIPE, "epochs": epochs}, torch.zeros(3), seed).fit(lambda: None)
    return model.seen


def test_each_epoch_sees_every_image_at_most_once_in_an_order_of_its_own():
    seen = noted(seed=0)
    assert [len(batch) for batch in seen] == [4] * 6  # 10 images are two batches of 4; two are left out
    epochs = [seen[0] + seen[1], seen[2] + seen[3], seen[4] + seen[5]]
    assert all(len(set(epoch)) == 8 for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert len({frozenset(epoch) for epoch in epochs}) > 1


def test_the_order_is_the_seeds_own():
    assert noted(seed=0) == noted(seed=0) != noted(seed=1)
    # The first epochs are the same however many follow.
    assert noted(seed=0, epochs=2) == noted(seed=0, epochs=3)[:4]


def test_no_epoch_draws_as_one_of_another_seed_does():
    def drawn(seed: int) -> list[list[int]]:
        seen = noted(seed)
        return [seen[i] + seen[i + 1] for i in range(0, len(seen), 2)]

    epochs = [tuple(epoch) for seed in range(3) for epoch in drawn(seed)]
    assert len(set(epochs)) == 9


def test_the_recipe_reaches_the_augmentation_and_the_network_learns_in_training_mode(monkeypatch):
    given, modes = [], []

    def noting(images, **keys):
        given.append((images, keys))
        modes.append(run.model.training)
        return augment(images, **keys)

    monkeypatch.setattr("fa_repro.training.trainer.augment", noting)
    recipe = {"epochs": 2, "augment": {"crop": 1, "flip": True, "cutout": 2, "removal": 0.5}}
    run = trainer(val=image_set(6, seed=1), n=8, **recipe)
    run.train.images[:, 0, 0, 0] = torch.arange(8, dtype=torch.uint8)  # each image's number
    run.colour = torch.tensor([0.1, 0.2, 0.3])
    run.fit(lambda: None)
    assert modes == [True] * 4  # two epochs of two batches; the validation after the first leaves the training mode
    assert all((keys["border"], keys["cutout"], keys["removal"]) == (1, 2, 0.5) for _, keys in given)
    assert all(torch.equal(keys["colour"], run.colour) for _, keys in given)
    turned = [
        {
            int(image[0, 0, 0]): bool(one)
            for images, keys in part
            for image, one in zip(images, keys["mirror"], strict=True)
        }
        for part in (given[:2], given[2:])
    ]
    first, second = turned
    assert set(first) == set(second) == set(range(8))
    assert all(first[number] != second[number] for number in range(8))  # whatever the order of an epoch
    assert 0 < sum(first.values()) < 8


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_restored_training_ends_where_an_unbroken_one_does(tmp_path, optimizer):
    recipe = {"optimizer": optimizer, "augment": {"crop": 1, "flip": True, "cutout": 0, "removal": 0.5}}
    whole = trainer(**recipe)
    states = []

    def keep() -> None:
        path = tmp_path / f"{len(whole.history)}.pt"
        torch.save(whole.state(), path)
        states.append(torch.load(path, weights_only=True))

    whole.fit(keep)
    final = whole.model.state_dict()
    for state in states[:2]:
        run = trainer(model_seed=9, **recipe)
        torch.rand(5)  # nothing depends on the global generator
        run.restore(state)
        run.fit(lambda: None)
        assert equal(run.model.state_dict(), final)
        assert [row["train_loss"] for row in run.history] == [row["train_loss"] for row in whole.history]
        assert [row["lr"] for row in run.history] == [row["lr"] for row in whole.history]
    other = trainer(seed=1, **recipe)
    other.fit(lambda: None)
    assert not equal(other.model.state_dict(), final)
    stale = trainer(model_seed=9, **recipe)
    stale.fit(lambda: None)
    assert not equal(stale.model.state_dict(), final)


def test_a_training_in_bf16_keeps_its_weights_in_fp32():
    run = trainer(epochs=1, precision="bf16")
    run.fit(lambda: None)
    assert {p.dtype for p in run.model.parameters()} == {torch.float32}
    exact = trainer(epochs=1, precision="fp32")
    exact.fit(lambda: None)
    assert run.history[0]["train_loss"] == pytest.approx(exact.history[0]["train_loss"], rel=0.05)
    assert run.history[0]["train_loss"] != exact.history[0]["train_loss"]


def test_the_memory_format_changes_no_result_beyond_rounding():
    losses = []
    for memory_format in ("contiguous", "channels_last"):
        run, read = trainer(memory_format=memory_format), []
        run.model.register_forward_pre_hook(lambda _, inputs, read=read: read.append(inputs[0]))
        run.fit(lambda: None)
        losses.append(run.history[-1]["train_loss"])
        weights = [p for p in run.model.parameters() if p.ndim == 4 and p.shape[2] == 3]  # of 1x1 both formats are one
        assert weights and read
        for tensor in (*read, *weights):
            assert tensor.is_contiguous(memory_format=device.choose_memory_format(memory_format))
            assert tensor.is_contiguous() == (memory_format == "contiguous")
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    other = trainer(seed=1)  # nothing but another order of the images
    other.fit(lambda: None)
    assert losses[0] != pytest.approx(other.history[-1]["train_loss"], rel=1e-3)


def test_a_batch_larger_than_the_set_is_refused():
    with pytest.raises(InputError, match=r"^trainer\.batch_size=11: more than the 10 training images\.$"):
        trainer(batch_size=11)
    assert trainer(batch_size=10).steps == 1


def test_a_diverged_training_is_refused():
    run = trainer(optimizer="sgd", lr=1e38, schedule="constant")
    with pytest.raises(InputError, match=r"diverged in epoch \d.*trainer\.lr"):
        run.fit(lambda: None)
