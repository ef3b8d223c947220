"""From a command's config to the settings of the attribution methods: every key arrives."""

from dataclasses import fields
from importlib.util import find_spec

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from fa_repro.attribution import Context
from fa_repro.ready import make_ready
from fa_repro.subject import Subject, Training
from networks import fa_cnn, task
from refusals import one_line, refusal
from samples import image_set

# None of them is what `Context` has of itself.
KEYS = {
    "upsampling": "nearest",
    "patch": 2,
    "repeats": 7,
    "n_steps": 11,
    "n_samples": 13,
    "seed": 17,
    "batch_size": 3,
}


def subject(build=lambda: fa_cnn(image_size=4)) -> Subject:
    images = image_set(4)
    of = task(2, image_size=4)._replace(mean=[0.1, 0.2, 0.3])
    training = Training(0, build)
    return Subject("a network", "in words", "data", "name", {}, of, images.classes, lambda: images, (training,))


def test_every_key_of_a_command_reaches_the_methods():
    default = Context()
    assert all(value != getattr(default, key) for key, value in KEYS.items())
    cfg = OmegaConf.create(KEYS | {"layer": "stages.0.0", "methods": ["feature_map", "random"]})
    of = subject()
    ready = make_ready(of, of.load(), cfg, torch.device("cpu"))
    assert {key: getattr(ready.context, key) for key in KEYS} == KEYS
    assert ready.context.layer == "stages.0.0"
    assert ready.context.colour is not None and torch.equal(ready.context.colour, torch.tensor([0.1, 0.2, 0.3]))
    # What a batch gives of itself is left to it.
    assert {field.name for field in fields(Context)} == {*KEYS, "layer", "colour", "pool", "rows"}
    assert ready.context.pool is None and ready.context.rows is None
    assert ready.methods[:1] == ["feature_map"] and "random" in ready.methods


def test_a_patch_larger_than_the_images_is_refused_where_a_method_has_patches():
    of = subject()

    def ready(patch, method):
        cfg = OmegaConf.create(KEYS | {"patch": patch, "layer": None, "methods": [method, "random"]})
        return make_ready(of, of.load(), cfg, torch.device("cpu"))

    for method in ("permutation", "occlusion", *(["shapley"] if find_spec("captum") else [])):
        assert refusal(ready, 5, method).startswith("patch=5: larger than the images, which are 4 pixels a side.")
        assert ready(4, method).context.patch == 4
    assert ready(5, "feature_map").context.patch == 5  # which nothing asks for


@pytest.mark.parametrize(
    "words", ["benchmark-removal", "benchmark-localization", "benchmark-sanity", "explain methods=[occlusion]"]
)
def test_a_patch_larger_than_the_images_costs_a_line(cli, untrained, tree, tmp_path, words):
    command, *words = words.split()
    if command == "explain":
        words.append(f"images={tree[0]('one.png', torch.zeros(16, 16, 3))}")
    words += [f"checkpoint={untrained('patches', 0)}", f"results={tmp_path / 'results'}", "device=cpu"]
    assert one_line(cli(command, *words, "patch=17")).startswith(
        "patch=17: larger than the images, which are 16 pixels"
    )
    assert not (tmp_path / "results").exists()


class ElsewhereStill(nn.Module):
    """Keeps a tensor to itself, which stays where it is when the network goes to another device."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.mean = torch.zeros(3, 1, 1)

    def forward(self, images):
        return self.layer((images - self.mean).mean((2, 3)))


def test_a_network_that_cannot_run_on_the_device_is_refused():
    cfg = OmegaConf.create(KEYS | {"layer": None, "methods": ["random"]})
    of = subject(ElsewhereStill)
    make_ready(of, of.load(), cfg, torch.device("cpu"))
    assert "model a network can't take images of 3x4x4 (" in refusal(
        make_ready, of, of.load(), cfg, torch.device("meta")
    )
