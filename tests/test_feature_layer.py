"""Which layer Grad-CAM looks at: torchvision's, the user's, those of modules that run twice or lead nowhere."""

import pytest
import torch
from torch import nn

from fa_repro.attribution import Context
from fa_repro.attribution.feature_layer import check_layer, choose_layer, last_convolutional_stage
from fa_repro.attribution.grad_cam import grad_cam
from fa_repro.models.external import build_external
from networks import TORCHVISION_RESNET, factory
from refusals import refusal
from samples import IMAGE

IMAGES = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))
SMALL = IMAGES[:1]
TARGETS = torch.tensor([1, 0])


class Net(nn.Module):
    """The control: a body of two convolutions, their means, a Linear layer."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
        self.head = nn.Linear(3, 2)
        self.aux = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())

    def forward(self, images):
        return self.head(self.body(images).mean((2, 3)))


class Twice(Net):
    """The body's first convolution runs again on its own output, and the second never."""

    def forward(self, images):
        return self.head(self.body[0](self.body[0](images)).mean((2, 3)))


class Auxiliary(Net):
    """A branch of its own runs last; its output is kept, not used."""

    def forward(self, images):
        maps = self.body(images)
        self.kept = self.aux(maps)
        return self.head(maps.mean((2, 3)))


class Frozen(Net):
    """The body runs without gradients, the head with them."""

    def forward(self, images):
        with torch.no_grad():
            maps = self.body(images)
        return self.head(maps.mean((2, 3)))


class NoGradients(Net):
    @torch.no_grad()
    def forward(self, images):
        return super().forward(images)


class Inference(Net):
    @torch.inference_mode()
    def forward(self, images):
        return super().forward(images)


class Failing(Net):
    """Leaves torch on its way, which is allowed as long as no gradient is wanted."""

    def forward(self, images):
        return self.head(torch.from_numpy(self.body(images).numpy()).mean((2, 3)))


def by_hand(model, maps):
    """Grad-CAM of maps (N,3,6,6) under a mean and a Linear layer."""
    weights = model.head.weight[TARGETS] / 36
    return (weights[:, :, None, None] * maps).sum(1).relu().detach()


def explained(model):
    layer = last_convolutional_stage(model, SMALL)
    check_layer(model, layer, SMALL)
    return layer, grad_cam(model, IMAGES, TARGETS, Context(layer=layer, upsampling="nearest"))


def refused(model, layer, image=SMALL):
    text = refusal(check_layer, model, layer, image)
    assert text.startswith(f"layer={layer}: ")
    return text


@pytest.mark.parametrize("kind", [Net, Auxiliary, Frozen])
@pytest.mark.parametrize("weights", ["learnable", "fixed"])
def test_the_layer_leads_to_the_logits(kind, weights):
    model = kind().requires_grad_(weights == "learnable")
    layer, maps = explained(model)
    assert layer == "body" and maps.max() > 0
    assert torch.allclose(maps, by_hand(model, model.body(IMAGES)), atol=1e-7)
    assert not torch.allclose(maps, by_hand(model, model.body[0](IMAGES)), atol=1e-4)


def test_of_a_module_that_runs_twice_the_last_output_is_explained():
    model = Twice()
    layer, maps = explained(model)
    assert layer == "body.0" and maps.max() > 0
    once = model.body[0](IMAGES)
    assert torch.allclose(maps, by_hand(model, model.body[0](once)), atol=1e-7)
    assert not torch.allclose(maps, by_hand(model, once), atol=1e-4)


def test_a_layer_that_does_not_lead_to_the_logits_is_refused():
    assert "does not lead to the logits" in refused(Auxiliary(), "aux")
    assert "does not lead to the logits" in refused(Frozen(), "body.0")
    check_layer(Auxiliary(), "body.0", SMALL)
    check_layer(Frozen(), "body.1", SMALL)


@pytest.mark.parametrize("kind", [NoGradients, Inference, Failing])
def test_a_network_without_gradients_has_no_layer(kind):
    model = kind().requires_grad_(False)
    assert model(SMALL).shape == (1, 2)
    assert last_convolutional_stage(model, SMALL) is None
    assert ("RuntimeError: Can't call numpy()" in refused(model, "body")) == (kind is Failing)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("name", "layer"),
    [("resnet18", "net.layer4"), ("mobilenet_v2", "net.features"), ("squeezenet1_1", "net.classifier.1")],
)
def test_the_last_convolutional_stage_of_torchvisions_networks(name, layer):
    from torchvision import models

    model = nn.Module.__new__(nn.Module)
    nn.Module.__init__(model)
    model.net = models.get_model(name, weights=None, num_classes=10)
    model.forward = model.net.forward
    assert last_convolutional_stage(model.eval(), IMAGE) == layer


def test_maps_of_one_position_are_no_stage():
    model = build_external(TORCHVISION_RESNET, 10, 0)
    assert last_convolutional_stage(model, IMAGE[:, :, :32, :32]) == "net.layer3"  # layer4 is left with a single one
    assert last_convolutional_stage(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), IMAGE[:, :, :2, :2]) is None


def test_layers_that_have_no_maps_are_one_line(nets):
    model = build_external(factory(f"{nets}:build"), 10, 0)
    check_layer(model, "body.1", IMAGE)
    assert "body, head" in refused(model, "bodi", IMAGE)
    assert "does not run" in refused(model, "spare", IMAGE)
    text = refused(model, "head", IMAGE)
    assert "(1, 10)" in text and "(N,C,h,w)" in text


def test_which_layer_grad_cam_gets(nets):
    torchvisions, mine = build_external(TORCHVISION_RESNET, 10, 0), build_external(factory(f"{nets}:build"), 10, 0)
    assert choose_layer(torchvisions, None, IMAGE) == "net.layer4"
    assert (
        choose_layer(torchvisions, "layer3", IMAGE) == choose_layer(torchvisions, "net.layer3", IMAGE) == "net.layer3"
    )
    assert choose_layer(mine, None, IMAGE) == "body"
    mine.last_feature_layer = mine.body[0]
    assert choose_layer(mine, None, IMAGE) is None
