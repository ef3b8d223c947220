"""The parts of a training, by hand: schedule, optimiser, evaluation, cost, loop, checkpoint and device."""

import math
import pickle
from importlib import import_module

import pytest
import torch
from torch import nn

import fa_repro
import tiny
from fa_repro import device
from fa_repro.checkpoint import Checkpoint, load_checkpoint, load_model, merge_data
from fa_repro.data import ImageSet
from fa_repro.errors import InputError
from fa_repro.models import Task, build_model
from fa_repro.training import HISTORY, Trainer, count_macs, evaluate
from fa_repro.training.schedule import schedule
from fa_repro.training.trainer import build_optimizer
from tiny import FA_CNN, ONE_STAGE

RECIPE = tiny.RECIPE | {"epochs": 3, "batch_size": 4, "weight_decay": 0.05, "schedule": "onecycle", "warmup": 0.25}
MODEL = FA_CNN | ONE_STAGE
TASK = Task(2, 3, 4, [0.5, 0.5, 0.5], [0.2, 0.2, 0.2])


def image_set(n: int = 10, channels: int = 3, size: int = 4, classes: int = 2, seed: int = 0) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, channels, size, size), dtype=torch.uint8, generator=generator)
    return ImageSet(images, torch.arange(n) % classes, torch.arange(n), tuple(map(str, range(classes))))


def trainer(seed: int = 0, model_seed: int = 0, val: ImageSet | None = None, n: int = 10, **recipe) -> Trainer:
    torch.manual_seed(model_seed)
    model = build_model(MODEL, TASK)
    return Trainer(model, image_set(n), val, {**RECIPE, **recipe}, torch.tensor([0.5, 0.5, 0.5]), seed)


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (0, 0.04),
        (10, 0.04 + 0.96 / 2),
        (19, 0.04 + 0.96 * 0.95),
        (20, 1.0),
        (40, 0.5 * (1 + math.sqrt(0.5))),
        (60, 0.5),
        (80, 0.5 * (1 - math.sqrt(0.5))),
        (99, 0.5 * (1 - math.cos(math.pi / 80))),
        (100, 0.0),
        (101, 0.0),
    ],
)
def test_onecycle_rises_linearly_and_falls_in_half_a_cosine(step, factor):
    assert schedule("onecycle", 100, 0.2)(step) == pytest.approx(factor, abs=1e-12)


@pytest.mark.parametrize(("step", "factor"), [(0, 1.0), (1, 0.933012701892), (3, 0.5), (5, 0.066987298108), (6, 0.0)])
@pytest.mark.parametrize("warmup", [0.0, 0.25])
def test_cosine_falls_from_the_start(step, factor, warmup):
    assert schedule("cosine", 6, warmup)(step) == pytest.approx(factor, abs=1e-11)


def test_constant_is_constant():
    assert [schedule("constant", 10, 0.25)(step) for step in (0, 1, 9, 10)] == [1.0] * 4


def test_onecycle_without_warmup_is_cosine():
    one, cosine = schedule("onecycle", 7, 0.0), schedule("cosine", 7, 0.0)
    assert [one(step) for step in range(8)] == [cosine(step) for step in range(8)]
    assert schedule("onecycle", 7, 0.5)(0) != cosine(0)


def test_onecycle_may_peak_between_two_steps():
    factor = schedule("onecycle", 10, 0.25)
    assert factor(2) == pytest.approx(0.04 + 0.96 * 2 / 2.5)
    assert factor(3) == pytest.approx(0.5 * (1 + math.cos(math.pi / 15)))
    assert max(factor(step) for step in range(11)) < 1


@pytest.mark.parametrize("kind", ["onecycle", "cosine", "constant"])
def test_a_training_of_one_step_has_a_learning_rate(kind):
    assert 0 < schedule(kind, 1, 0.25)(0) <= 1


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, 2)
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.fixed = nn.Parameter(torch.ones(2, 2), requires_grad=False)


def test_weights_decay_and_norms_biases_and_scalars_do_not():
    model = Mixed()
    optimizer = build_optimizer(model, RECIPE)
    names = {id(p): name for name, p in model.named_parameters()}
    groups = {group["weight_decay"]: {names[id(p)] for p in group["params"]} for group in optimizer.param_groups}
    assert groups == {
        0.05: {"conv.weight", "linear.weight"},
        0.0: {"conv.bias", "norm.weight", "norm.bias", "linear.bias", "scale"},
    }


def test_a_step_without_gradient_shrinks_the_weights_alone():
    model = Mixed()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = build_optimizer(model, {**RECIPE, "lr": 0.5, "weight_decay": 0.1})
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    for name, p in model.named_parameters():
        factor = 0.95 if name in ("conv.weight", "linear.weight") else 1.0
        assert torch.allclose(p, factor * before[name], rtol=1e-6, atol=0), name


def test_the_optimizer_is_the_one_asked_for():
    adamw = build_optimizer(Mixed(), RECIPE)
    assert type(adamw) is torch.optim.AdamW and adamw.defaults["lr"] == 0.01
    sgd = build_optimizer(Mixed(), {**RECIPE, "optimizer": "sgd", "momentum": 0.8})
    assert type(sgd) is torch.optim.SGD
    assert (sgd.defaults["lr"], sgd.defaults["momentum"], sgd.defaults["nesterov"]) == (0.01, 0.8, True)
    plain = build_optimizer(Mixed(), {**RECIPE, "optimizer": "sgd", "momentum": 0.0})
    assert plain.defaults["nesterov"] is False


def test_a_scale_that_is_not_learned_is_not_optimised():
    for learned in (True, False):
        model = build_model({**MODEL, "learn_scale": learned}, TASK)
        optimised = {id(p) for group in build_optimizer(model, RECIPE).param_groups for p in group["params"]}
        assert (id(model.head.log_scale) in optimised) == learned


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


def test_count_macs_by_hand():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),  # 8*8 positions * 4 maps * 3*3*3
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False),  # 4*4 * 6 * 4*3*3
        nn.Flatten(),
        nn.Linear(96, 5),  # 96 * 5
    ).eval()
    image = torch.zeros(1, 3, 8, 8)
    assert count_macs(model, image) == 6912 + 3456 + 480
    assert count_macs(model[:3], image) == 6912
    assert count_macs(model[:1], torch.zeros(1, 3, 16, 16)) == 4 * 6912


def test_count_macs_of_the_network_by_hand():
    # At 4x4 places, 2x2 patches of 3 colours to 24 channels, a 3x3 convolution to 4, a 1x1 to 6 maps; stem, skip,
    # pooling and head multiply no matrix.
    per_place = 12 * 24 + 24 * 4 * 9 + 4 * 6
    assert count_macs(build_model(MODEL, TASK).eval(), torch.zeros(1, 3, 4, 4)) == 16 * per_place


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


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_restored_training_ends_where_an_unbroken_one_does(tmp_path, optimizer):
    recipe = {"optimizer": optimizer, "augment": {"crop": 1, "flip": True, "removal": 0.5}}
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


def test_a_batch_larger_than_the_set_is_refused():
    with pytest.raises(InputError, match=r"^trainer\.batch_size=11: more than the 10 training images\.$"):
        trainer(batch_size=11)
    assert trainer(batch_size=10).steps == 1


def test_a_diverged_training_is_refused():
    run = trainer(optimizer="sgd", lr=1e38, schedule="constant")
    with pytest.raises(InputError, match=r"diverged in epoch \d.*trainer\.lr"):
        run.fit(lambda: None)


@pytest.fixture
def checkpoint():
    torch.manual_seed(3)
    model = build_model(MODEL, TASK)
    model.train()(torch.rand(4, 3, 4, 4))  # running statistics that differ from fresh ones
    return Checkpoint(
        model=MODEL,
        task=TASK._asdict(),
        classes=["a", "b"],
        state=model.state_dict(),
        data={"name": "shapes", "n_train": 100, "n_test": 50, "download": False, "mirror": False, "root": None},
        trainer=RECIPE,
        seed=3,
    )


@pytest.fixture
def saved(checkpoint, tmp_path):
    path = tmp_path / "checkpoint.pt"
    with path.open("wb") as file:
        checkpoint.save(file)
    return path


def test_a_checkpoint_holds_plain_values_and_tensors_alone(saved):
    content = torch.load(saved, weights_only=True)
    assert content.keys() == {
        "fa_repro_checkpoint",
        "model",
        "task",
        "classes",
        "state",
        "data",
        "trainer",
        "seed",
    }
    assert content["fa_repro_checkpoint"] == 1


def test_a_checkpoint_comes_back_as_it_was(checkpoint, saved):
    back = load_checkpoint(saved)
    for field in ("model", "task", "classes", "data", "trainer", "seed"):
        assert getattr(back, field) == getattr(checkpoint, field)
    assert equal(back.state, checkpoint.state)
    assert equal(back.build().state_dict(), checkpoint.state)
    assert not equal(build_model(MODEL, TASK).state_dict(), checkpoint.state)


@pytest.mark.parametrize("as_type", [str, lambda path: path])
def test_load_model_returns_the_trained_model_in_eval_mode(checkpoint, saved, as_type):
    model = fa_repro.load_model(as_type(saved))
    assert not any(module.training for module in model.modules())
    images = torch.rand(2, 3, 4, 4)
    with torch.no_grad():
        assert torch.equal(model(images), checkpoint.build()(images))
        assert not torch.equal(model(images), build_model(MODEL, TASK).eval()(images))
        assert model.class_maps(images).shape == (2, 2, 4, 4)
    assert fa_repro.load_model is load_model


def test_a_missing_checkpoint_is_refused(tmp_path):
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(InputError, match="no such file") as refused:
            load_checkpoint(path)
        assert str(path) in str(refused.value) and "fa-repro train" in str(refused.value)


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "flipped"])
def test_a_damaged_checkpoint_is_refused(saved, damage):
    content = saved.read_bytes()
    middle = len(content) // 2
    saved.write_bytes(
        {
            "empty": b"",
            "text": b"no checkpoint\n" * 100,
            "cut": content[:middle],
            "flipped": content[:middle] + bytes(255 - b for b in content[middle:]),
        }[damage]
    )
    with pytest.raises(InputError, match=r"damaged or no checkpoint") as refused:
        load_checkpoint(saved)
    assert str(saved) in str(refused.value) and "\n" not in str(refused.value)


class Foreign:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self):
        return exec, ("import builtins; builtins.unpickled = True",)


def test_a_checkpoint_runs_no_code(tmp_path):
    import builtins

    path = tmp_path / "foreign.pt"
    torch.save({"fa_repro_checkpoint": 1, "model": Foreign()}, path)
    with pytest.raises(InputError, match="damaged or no checkpoint"):
        load_checkpoint(path)
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Foreign(), protocol=2))
    with pytest.raises(InputError, match="damaged or no checkpoint"):
        load_checkpoint(tmp_path / "raw.pt")
    assert not hasattr(builtins, "unpickled")


@pytest.mark.parametrize("content", [{"weight": torch.zeros(2)}, [1, 2], torch.zeros(3), {"model": MODEL}, {}])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(InputError, match=r"is no checkpoint of fa-repro train\.$"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(fa_repro_checkpoint=2), "has format 2, this version reads 1"),
        (lambda c: c.pop("classes"), "does not fit this version"),
        (lambda c: c.update(extra=1), "does not fit this version"),
        (lambda c: c["state"].popitem(), "does not fit this version"),
        (lambda c: c["state"].update(more=torch.zeros(1)), "does not fit this version"),
        (lambda c: c["model"].update(hidden=[5]), "does not fit this version"),
        (lambda c: c["model"].pop("alpha"), "does not fit this version"),
        (lambda c: c["task"].pop("mean"), "does not fit this version"),
        (lambda c: c["task"].update(n_classes=3), "does not fit this version"),
        (lambda c: c["model"].update(name="zzzz"), "no such model"),
        (lambda c: c.update(state=None), "does not fit this version"),
        (lambda c: c.update(model=None), "does not fit this version"),
        (lambda c: c.update(task=None), "does not fit this version"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(saved, change, words):
    content = torch.load(saved, weights_only=True)
    torch.save(content, saved)
    load_checkpoint(saved)
    change(content)
    torch.save(content, saved)
    with pytest.raises(InputError, match=words) as refused:
        load_checkpoint(saved)
    assert "\n" not in str(refused.value)


GIVEN = {"name": "from_checkpoint", "n_train": None, "n_test": None, "download": False, "mirror": True, "root": None}


def test_merge_data_takes_the_checkpoints_own_set(checkpoint):
    merged = merge_data(checkpoint, GIVEN)
    assert merged == checkpoint.data
    merged["n_test"] = 1
    assert checkpoint.data["n_test"] == 50


@pytest.mark.parametrize(
    ("key", "value"), [("n_test", 5), ("root", "/elsewhere"), ("download", True), ("n_train", 1), ("cache", "/c")]
)
def test_merge_data_puts_a_given_key_on_top(checkpoint, key, value):
    assert merge_data(checkpoint, GIVEN | {key: value}) == checkpoint.data | {key: value}
    assert checkpoint.data.get(key) != value


def test_merge_data_takes_another_set_whole(checkpoint):
    other = {"name": "image_folder", "root": "/d", "n_train": None, "n_test": None, "download": False, "mirror": True}
    assert merge_data(checkpoint, other) == other


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for word in ("cuda", "cuda:1"):
        with pytest.raises(InputError, match=f"^device={word}: .*device=cpu"):
            device.choose_device(word)
    assert device.choose_device("auto") == device.choose_device("cpu") == torch.device("cpu")


def test_precision_and_memory_format_as_asked(monkeypatch):
    cpu = torch.device("cpu")
    assert device.choose_precision("fp32", cpu) == torch.float32
    assert device.choose_precision("bf16", cpu) == torch.bfloat16
    for native in (True, False):
        monkeypatch.setattr(device, "bf16_is_native", lambda _, native=native: native)
        assert device.choose_precision("auto", cpu) == (torch.bfloat16 if native else torch.float32)
    assert device.choose_memory_format("contiguous") == torch.contiguous_format
    assert device.choose_memory_format("channels_last") == torch.channels_last


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
        run = trainer(memory_format=memory_format)
        run.fit(lambda: None)
        losses.append(run.history[-1]["train_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
