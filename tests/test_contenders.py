"""What is raced: every contender does the work that its name says."""

import sys
import types
from collections import Counter
from importlib.util import find_spec

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

import tiny
from fa_repro.attribution import Context
from fa_repro.attribution.depth_map import depth_map
from fa_repro.attribution.feature_map import feature_map
from fa_repro.attribution.joint import predict_with_depth_map, predict_with_feature_map
from fa_repro.data import ImageSet
from fa_repro.models import Task, build_model
from fa_repro.speed import explanation, removal, training
from fa_repro.training import trainer

TASK = Task(3, 3, 8, [0.5, 0.4, 0.3], [0.2, 0.2, 0.2])
FA = tiny.FA_CNN
RESNET = tiny.RESNET | {"widths": [8, 8]}
RECIPE = tiny.RECIPE | {"batch_size": 8, "lr": 0.001, "augment": {"crop": 1, "flip": True, "cutout": 0, "removal": 0.0}}


def trained(config: dict, seed: int = 0) -> nn.Module:
    """A network whose batch norms hold statistics of their own, so that folding them can go wrong."""
    torch.manual_seed(seed)
    model = build_model(config, TASK)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.normal_(module.bias)
            module.momentum = None  # the statistics of the one batch below, and nothing of the initial ones
    model.train()
    model(torch.rand(64, 3, 8, 8))
    return model.eval().requires_grad_(False)


def image_set(n: int = 20) -> ImageSet:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (n, 3, 8, 8), dtype=torch.uint8, generator=generator)
    return ImageSet(images, torch.arange(n) % 3, torch.arange(n), ("a", "b", "c"))


def test_training_contenders_learn_from_every_image_and_leave_the_model_alone():
    torch.manual_seed(0)
    model = build_model(FA, TASK)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    contenders, notes = training.training_contenders(model, image_set(20), RECIPE, torch.zeros(3), workers=0)
    names = [contender.name for contender in contenders]
    assert names[:3] == ["fa-repro train", "bare step", "usual loop"]
    assert {"bare step, fp32 contiguous", "bare step, fp32 channels_last"} <= set(names)
    assert notes[0] == "The trainer's steps are not compiled." and "bare step, not compiled" not in names
    assert bool(notes[1:]) == ("bare step, bf16 contiguous" not in names)
    steps = []
    hook = register_optimizer_step_post_hook(lambda optimizer, *_: steps.append(id(optimizer)))
    try:
        # 2 whole batches of 8 out of 20
        assert [(contender.run(), len(steps)) for contender in contenders[:3]] == [(16, 2), (16, 4), (16, 6)]
        assert list(Counter(steps).values()) == [2, 2, 2]  # each contender's are of its own optimiser
        assert [contender.run() for contender in contenders[3:5]] == [8, 8] and len(steps) == 8
    finally:
        hook.remove()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_compiled_steps_run_beside_the_same_not_compiled(monkeypatch):
    made, asked = [], []
    monkeypatch.setattr(torch, "compile", lambda network, dynamic: made.append(network) or network)
    monkeypatch.setattr(training, "choose_compile", lambda *args: asked.append(args[3]) or True)
    monkeypatch.setattr(trainer, "choose_compile", lambda word, *_: word == "always")
    contenders, notes = training.training_contenders(
        build_model(FA, TASK), image_set(20), RECIPE | {"compile": "auto"}, torch.zeros(3), workers=0, whole=500
    )
    assert notes[0] == "The trainer's steps are compiled, the last rows' not."
    assert [contender.name for contender in contenders[:4]] == [
        "fa-repro train", "bare step", "usual loop", "bare step, not compiled",
    ]  # fmt: skip
    assert len(made) == 2 and asked == [
        496
    ]  # the first two contenders'; chosen as for the whole training, in batches of 8
    assert contenders[3].run() == 16


def test_the_usual_loop_shows_every_image_once_as_the_trainer_has_them(monkeypatch):
    seen = []

    class Watched(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, images):
            seen.append(images.clone())
            return self.layer(images.mean((2, 3)))

    data = image_set(16)
    recipe = RECIPE | {"augment": {"crop": 0, "flip": False, "cutout": 0, "removal": 0.0}}
    contender = training._usual_loop(Watched(), data, recipe, workers=0)
    assert contender.run() == 16
    shown = {tuple(image.flatten().tolist()) for image in torch.cat(seen)}
    assert shown == {tuple(image.flatten().tolist()) for image in data.images.float() / 255}


@pytest.mark.parametrize("config", [FA, RESNET])
def test_explanation_contenders_do_their_work(config):
    model = trained(config)
    images = image_set(6).images.float() / 255
    context = Context(batch_size=4)
    contenders, _ = explanation.explanation_contenders(model, images, context)
    read, ran, shown = [], {}, {}
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_pre_hook(lambda module, inputs: read.append(len(inputs[0])))
    for contender in contenders:
        read.clear()
        ran[contender.name], shown[contender.name] = contender.run(), sum(read)
    assert ran["prediction"] == ran["grad_cam"] == 6
    assert ("prediction + feature_map" in ran) == (config is FA)
    assert shown == dict.fromkeys(ran, 6)  # the network reads every image once


class Mine(nn.Module):
    """A classifier that is not ours and names no layer."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.head = nn.Linear(4, 3)

    def forward(self, images):
        return self.head(self.body(images).mean((2, 3)))


class Frozen(Mine):
    """Its body runs without gradients."""

    def forward(self, images):
        with torch.no_grad():
            maps = self.body(images)
        return self.head(maps.mean((2, 3)))


@pytest.mark.parametrize(
    ("kind", "layer", "ours", "captums"), [(Mine, None, 0, 0), (Mine, "body", 1, 1), (Frozen, "body", 1, 0)]
)
def test_a_network_that_is_not_ours_is_explained_by_what_can_do_it(kind, layer, ours, captums):
    pytest.importorskip("captum")
    torch.manual_seed(0)
    images = image_set(6).images.float() / 255
    contenders, notes = explanation.explanation_contenders(
        kind().eval().requires_grad_(False), images, Context(batch_size=4, layer=layer)
    )
    ran = {contender.name: contender.run() for contender in contenders}
    assert ran["prediction"] == 6
    assert [name in ran for name in ("grad_cam", "captum LayerGradCam")] == [ours, captums]
    said = "\n".join(notes)
    assert ("`grad_cam` is left out" in said) == (layer is None)
    assert ("captum LayerGradCam was not measured: it fails on this network (RuntimeError: " in said) == (
        kind is Frozen
    )


def test_prediction_and_map_from_one_pass_are_those_of_two():
    model = trained(FA)
    images = image_set(5).images.float() / 255
    with torch.inference_mode():
        logits = model(images)
    context = Context(upsampling="bilinear")
    for joint, method in ((predict_with_feature_map, feature_map), (predict_with_depth_map, depth_map)):
        explained = joint(model, images)
        assert torch.allclose(explained.logits, logits, rtol=1e-5, atol=1e-6)
        expected = method(model, images, logits.argmax(1).clone(), context)
        assert torch.allclose(explained.maps, expected, rtol=1e-5, atol=1e-6)
        others = method(model, images, (logits.argmax(1) + 1) % 3, context)
        assert not torch.allclose(explained.maps, others, rtol=1e-3)


def test_removal_contenders_do_their_work_and_name_who_is_absent(monkeypatch):
    class Imputer:
        """As pytorch-grad-cam's, asked for one image at a time and told which pixels are kept."""

        def __init__(self, noise):
            assert noise == 0

        def __call__(self, image, kept):
            assert image.shape == (3, 32, 32) and kept.dtype == torch.float32
            filled.append(1 - kept.mean().item())
            return image

    filled = []
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam.metrics.road", types.SimpleNamespace(NoisyLinearImputer=Imputer))
    for parent in ("pytorch_grad_cam", "pytorch_grad_cam.metrics"):
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    found = find_spec
    monkeypatch.setattr(removal, "find_spec", lambda name: name == "pytorch_grad_cam" or found(name))
    monkeypatch.setattr(removal, "SIDES", {32: (3, 2)})
    monkeypatch.setattr(removal, "FRACTIONS", (0, 0.3, 0.6, 1))
    model, data = trained(FA), image_set(6)
    context = Context(colour=torch.tensor([0.5, 0.4, 0.3]), batch_size=4, repeats=1)
    words = (model, data.images, data.labels, torch.tensor([0.2, 0.2, 0.2]), context, 3)
    read, done = [], Counter()

    def counted(name, work):
        return lambda *inputs: done.update([name]) or work(*inputs)

    for name in ("permutation", "occlusion", "fill_linearly"):
        monkeypatch.setattr(removal, name, counted(name, getattr(removal, name)))
    model.register_forward_pre_hook(lambda module, inputs: read.append(len(inputs[0])))
    contenders, notes = removal.removal_contenders(*words)
    read.clear()
    ran = {contender.name: contender.run() for contender in contenders[:4]}
    # As many images as the protocol has readings of: 6 in 2 orders at 4 fractions. The reader, a copy, has no hooks.
    assert ran == dict.fromkeys([removal.PLAIN, "removal, mean", "removal, blur", "removal, noisy_linear"], 48)
    assert sum(read) == 48 and max(read) == 4
    assert not done
    ran |= {contender.name: contender.run() for contender in contenders[4:]}
    assert ran["permutation"] == ran["occlusion"] == 3
    assert ran[removal._fill("us", 32, 0.9)] == 3 and ran[removal._fill(removal.PEER, 32, 0.9)] == 2
    # Of two shares: ours for all images at once, the peer's for one of its two images at a time.
    assert done == {"permutation": 1, "occlusion": 1, "fill_linearly": 2}
    assert filled == pytest.approx([0.5, 0.5, 0.9, 0.9], abs=1e-3)
    names = {name for comparison in removal.COMPARISONS for name in (comparison.above, comparison.below)}
    assert set(ran) <= names
    absent = names - set(ran)
    assert all("224" in name or "captum" in name for name in absent)
    monkeypatch.setattr(removal, "find_spec", lambda name: None)
    contenders, notes = removal.removal_contenders(*words)
    assert not any("captum" in contender.name or removal.PEER in contender.name for contender in contenders)
    assert [note.split()[0] for note in notes] == ["captum", removal.PEER]
