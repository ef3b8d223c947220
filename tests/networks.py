"""Networks for tests: small ones of random weights and norms, stand-ins whose answers are known, layers by hand."""

import math

import pytest
import torch
from torch import nn

import tiny
from fa_repro.models import Task, build_model
from tiny import FA_CNN

FA = FA_CNN | {"maps_per_class": 4, "hidden": [6, 6]}
UNSHUFFLED = FA_CNN | {"maps_per_class": 12, "unshuffle": 2}  # 12 planes of pixels, each once in every class
RESNET = tiny.RESNET | {"widths": [8, 16]}
TORCHVISION_RESNET = {"name": "resnet18", "weights": None}
# The first use of torchvision takes seconds.
RESNET18 = pytest.param({"name": "resnet18"}, marks=pytest.mark.slow, id="resnet18")


def task(n_classes=10, in_channels=3, image_size=32):
    return Task(n_classes, in_channels, image_size, [0.5] * in_channels, [0.25] * in_channels)


def fa_cnn(n_classes=2, in_channels=3, image_size=8, seed=0, **changed):
    """A fresh FA-CNN."""
    torch.manual_seed(seed)
    return build_model(UNSHUFFLED | changed, task(n_classes, in_channels, image_size)).eval()


def network(config=FA, in_channels=3, image_size=8, seed=0, **changed):
    """A network of three classes with random weights and norms."""
    torch.manual_seed(seed)
    model = build_model(config | changed, task(3, in_channels, image_size))
    return with_random_norms(model, torch.default_generator).eval()


def factory(word, weights=None):
    """The config of a network that a function of the user's returns."""
    return {"name": "factory", "factory": word, "weights": weights}


def with_random_norms(model, generator=None, variance=(0.3, 2), weight=(0.5, 1.5), bias=0.3):
    """Give norms statistics and weights that are not those of a fresh network."""
    generator = generator or torch.Generator().manual_seed(0)
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.normal_(0, 0.2, generator=generator)
            norm.running_var.uniform_(*variance, generator=generator)
            norm.weight.data.uniform_(*weight, generator=generator)
            norm.bias.data.normal_(0, bias, generator=generator)
    return model


class Constant(nn.Module):
    """A branch that gives the same maps whatever it reads."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, maps):
        return self.value.to(maps).expand_as(maps)


class Linear(nn.Module):
    """Images are the last feature maps; logit k is the sum of ``weights[k] * image``. Notes the size of each batch."""

    def __init__(self, weights):
        super().__init__()
        self.weights = weights
        self.n_classes = len(weights)
        self.batches = []
        self.last_feature_layer = nn.Identity()

    def forward(self, images):
        self.batches.append(len(images))
        return torch.einsum("nchw,kchw->nk", self.last_feature_layer(images), self.weights)


def normed(norm, maps):
    view = (1, -1, 1, 1)
    maps = (maps - norm.running_mean.view(view)) / (norm.running_var.view(view) + norm.eps).sqrt()
    return maps * norm.weight.view(view) + norm.bias.view(view)


def gelu(maps):
    return maps * (1 + torch.erf(maps / math.sqrt(2))) / 2


def hooks(model):
    return sum(len(module._forward_hooks) + len(module._backward_hooks) for module in model.modules())


def equal(a, b):
    """Are two state dicts equal, bit for bit?"""
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)
