"""Which of the methods that are asked for are measured: what a model can do, and the controls always."""

import pytest
import torch
from torch import nn

from fa_repro.attribution import choose_methods
from fa_repro.errors import InputError
from fa_repro.models import Task, build_model
from samples import pixels
from tiny import FA_CNN, RESNET

NINE = pixels(9)


class Severed(nn.Module):
    """A classifier whose logits have no gradient in the pixels."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, images):
        with torch.no_grad():
            means = images.mean((2, 3))
        return self.linear(means)


class Whole(Severed):
    def forward(self, images):
        return self.linear(images.mean((2, 3)))


def network(config):
    torch.manual_seed(0)
    return build_model(config, Task(3, 3, 8, [0.5] * 3, [0.2] * 3))


@pytest.mark.parametrize(
    ("asked", "measured", "said"),
    [
        (["feature_map"], ["feature_map", "random", "center"], ["controls `random`, `center` are added."]),
        (["center", "grad_cam"], ["center", "grad_cam", "random"], ["control `random` is added."]),
        (["random", "occlusion", "center"], ["random", "occlusion", "center"], []),
        (["random"], ["random", "center"], ["control `center` is added."]),
        (["grad_cam", "grad_cam", "random", "center"], ["grad_cam", "random", "center"], []),
    ],
)
def test_the_controls_are_measured_whether_asked_for_or_not(asked, measured, said):
    assert choose_methods(asked, network(FA_CNN), "fa_cnn", NINE) == (measured, said)


def test_what_a_model_cannot_do_is_left_out_and_said():
    methods, notes = choose_methods(["feature_map", "grad_cam", "random", "center"], network(RESNET), "resnet", NINE)
    assert methods == ["grad_cam", "random", "center"]
    assert notes == ["`feature_map` is left out: the model has no class_maps."]
    methods, notes = choose_methods(["grad_cam", "random", "center"], nn.Identity(), "mine", NINE)
    assert methods == ["random", "center"] and "layer=NAME" in notes[0] and len(notes) == 1
    assert choose_methods(["grad_cam"], nn.Identity(), "mine", NINE, "conv")[0] == ["grad_cam", "random", "center"]


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients"])
def test_methods_by_the_pixels_gradient_are_left_out_where_there_is_none(method):
    methods, notes = choose_methods([method, "occlusion"], Severed(), "mine", NINE)
    assert methods == ["occlusion", "random", "center"]
    assert notes[0].startswith(
        f"`{method}` is left out: it needs the logit's gradient in the pixels, and there is none"
    )
    assert choose_methods([method], Whole(), "mine", NINE)[0] == [method, "random", "center"]


def test_controls_alone_are_no_answer_to_what_was_asked_for():
    with pytest.raises(InputError, match="resnet can do none of them"):
        choose_methods(["feature_map", "depth_map"], network(RESNET), "resnet", NINE)


def test_permutation_needs_another_image():
    with pytest.raises(InputError, match="Give two images or more"):
        choose_methods(["permutation"], network(FA_CNN), "fa_cnn", NINE[:1])
    choose_methods(["permutation"], network(FA_CNN), "fa_cnn", NINE[:2])
    choose_methods(["occlusion"], network(FA_CNN), "fa_cnn", NINE[:1])
