"""Which of the methods that are asked for are measured: what a model can do, and the controls always."""

import pytest
import torch
from torch import nn

from fa_repro.attribution import choose_methods
from fa_repro.errors import InputError
from fa_repro.models import Task, build_model
from tiny import FA_CNN, RESNET


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
    assert choose_methods(asked, network(FA_CNN), "fa_cnn", 9) == (measured, said)


def test_what_a_model_cannot_do_is_left_out_and_said():
    methods, notes = choose_methods(["feature_map", "grad_cam", "random", "center"], network(RESNET), "resnet", 9)
    assert methods == ["grad_cam", "random", "center"]
    assert notes == ["`feature_map` is left out: the model has no class_maps."]
    methods, notes = choose_methods(["grad_cam", "random", "center"], nn.Identity(), "mine", 9)
    assert methods == ["random", "center"] and "layer=NAME" in notes[0] and len(notes) == 1
    assert choose_methods(["grad_cam"], nn.Identity(), "mine", 9, "conv")[0] == ["grad_cam", "random", "center"]


def test_controls_alone_are_no_answer_to_what_was_asked_for():
    with pytest.raises(InputError, match="resnet can do none of them"):
        choose_methods(["feature_map", "depth_map"], network(RESNET), "resnet", 9)


def test_permutation_needs_another_image():
    with pytest.raises(InputError, match="n_images=2"):
        choose_methods(["permutation"], network(FA_CNN), "fa_cnn", 1)
    choose_methods(["permutation"], network(FA_CNN), "fa_cnn", 2)
    choose_methods(["occlusion"], network(FA_CNN), "fa_cnn", 1)
