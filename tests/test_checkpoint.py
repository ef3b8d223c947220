"""A checkpoint: what it holds, how it comes back, which data it brings, and what is refused."""

import pickle

import pytest
import torch

import fa_repro
from fa_repro.checkpoint import Checkpoint, load_checkpoint, load_model, merge_data
from fa_repro.models import build_model
from networks import equal, task
from refusals import refusal
from tiny import FA_CNN, ONE_STAGE, RECIPE

MODEL = FA_CNN | ONE_STAGE
TASK = task(2, image_size=4)


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


# Refusals


def test_a_missing_checkpoint_is_refused(tmp_path):
    for path in (tmp_path / "none.pt", tmp_path):
        message = refusal(load_checkpoint, path)
        assert "no such file" in message and str(path) in message and "fa-repro train" in message


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
    message = refusal(load_checkpoint, saved)
    assert "damaged or no checkpoint" in message and str(saved) in message


class Foreign:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self):
        return exec, ("import builtins; builtins.unpickled = True",)


def test_a_checkpoint_for_which_memory_is_lacking_is_not_called_damaged(saved, monkeypatch):
    def load(*_, **__):
        raise MemoryError("no room")

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(MemoryError, match="no room"):
        load_checkpoint(saved)


def test_a_checkpoint_runs_no_code(tmp_path):
    import builtins

    path = tmp_path / "foreign.pt"
    torch.save({"fa_repro_checkpoint": 1, "model": Foreign()}, path)
    assert "damaged or no checkpoint" in refusal(load_checkpoint, path)
    (tmp_path / "raw.pt").write_bytes(pickle.dumps(Foreign(), protocol=2))
    assert "damaged or no checkpoint" in refusal(load_checkpoint, tmp_path / "raw.pt")
    assert not hasattr(builtins, "unpickled")


@pytest.mark.parametrize("content", [{"weight": torch.zeros(2)}, [1, 2], torch.zeros(3), {"model": MODEL}, {}])
def test_a_file_of_something_else_is_refused(tmp_path, content):
    path = tmp_path / "other.pt"
    torch.save(content, path)
    assert refusal(load_checkpoint, path).endswith("is no checkpoint of fa-repro train.")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(fa_repro_checkpoint=2), "has format 2, this version reads 1"),
        (lambda c: c.pop("classes"), "does not fit this version"),
        (lambda c: c.update(extra=1), "does not fit this version"),
        (lambda c: c["state"].popitem(), "does not fit this version"),
        (lambda c: c["state"].update(more=torch.zeros(1)), "does not fit this version"),
        (lambda c: c["model"].update(hidden=[5]), "does not fit this version"),
        (lambda c: c["model"].pop("alpha"), "model.alpha is not given"),
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
    assert words in refusal(load_checkpoint, saved)


# The data that it brings


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
