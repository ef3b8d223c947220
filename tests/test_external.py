"""Networks that are not ours, torchvision's and those a function of the user's returns: built and checked."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from fa_repro.models import Task, build_model
from fa_repro.models.external import IMAGENET_MEAN, IMAGENET_STD, build_external, check_batch, factory_file, probe
from networks import TORCHVISION_RESNET, factory
from refusals import refusal
from samples import IMAGE


def refused(act, *words):
    text = refusal(act)
    assert all(word in text for word in words), text


# torchvision


def test_torchvisions_network_gets_imagenets_normalisation(weights):
    from torchvision.models import resnet18

    model = build_external(TORCHVISION_RESNET | {"weights": str(weights)}, 10, 0)
    theirs = resnet18(num_classes=10)
    theirs.load_state_dict({k.removeprefix("module."): v for k, v in torch.load(weights)["model"].items()})
    theirs.eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        assert torch.allclose(model(IMAGE), theirs((IMAGE - mean) / std), atol=1e-5)
        assert not torch.allclose(model(IMAGE), theirs(IMAGE), atol=1e-2)
    assert not model.training


def test_random_weights_are_the_seeds():
    one, same, other = (build_external(TORCHVISION_RESNET, 10, seed).net.fc.weight for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_weights_and_names_that_do_not_fit_are_one_line(weights, tmp_path):
    refused(lambda: build_external({"name": "resnet81", "weights": None}, 10, 0), "resnet81", "Did you mean resnet18?")
    missing = TORCHVISION_RESNET | {"weights": str(tmp_path / "gone.pt")}
    refused(lambda: build_external(missing, 10, 0), "model.weights=", "gone.pt", "no such file")
    for name, content in (("text.pt", b"text"), ("empty.pt", b"")):
        (tmp_path / name).write_bytes(content)
        refused(
            lambda name=name: build_external(TORCHVISION_RESNET | {"weights": str(tmp_path / name)}, 10, 0),
            name,
            "no state dict",
        )
    torch.save([1, 2], tmp_path / "list.pt")
    refused(
        lambda: build_external(TORCHVISION_RESNET | {"weights": str(tmp_path / "list.pt")}, 10, 0),
        "holds no state dict",
    )
    fits_not = TORCHVISION_RESNET | {"weights": str(weights)}
    refused(lambda: build_external(fits_not, 7, 0), "don't fit resnet18", "fc.weight")
    refused(
        lambda: build_external(fits_not | {"name": "squeezenet1_1"}, 10, 0),
        "don't fit squeezenet1_1",
        "features.0.weight",
    )


def test_they_are_not_trained():
    task = Task(10, 3, 32, [0.5] * 3, [0.2] * 3)
    refused(lambda: build_model(TORCHVISION_RESNET, task), "benchmark-removal")
    build_model({"name": "resnet18"}, task)  # ours of the same name is


# A function of the user's


def test_what_a_function_returns_is_the_network(nets):
    model = build_external(factory(f"{nets}:build"), 10, 0)
    torch.manual_seed(0)
    assert torch.equal(model.body[0].weight, nn.Conv2d(3, 4, 3).weight) and not model.training
    assert factory_file(f"{nets}:build").name == "my_nets.py"
    torch.save({k: v * 2 for k, v in model.state_dict().items()}, "doubled.pt")
    doubled = build_external(factory(f"{nets}:build", "doubled.pt"), 10, 0)
    assert torch.equal(doubled.head.weight, 2 * model.head.weight)


def test_a_function_may_import_and_be_imported_from_the_working_directory(nets):
    assert isinstance(build_external(factory(f"{nets}:lazy"), 10, 0), nn.Module)
    assert factory_file("my_package:build").name == "inner.py"  # where it is written, not where it is named
    assert str(Path.cwd()) not in sys.path


def test_a_network_that_mixes_the_images_of_a_batch_is_refused(nets):
    images = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 3, 16, 16)
    check_batch(build_external(factory(f"{nets}:build"), 10, 0), images, "mine")
    mixing = build_external(factory(f"{nets}:together"), 10, 0)
    refused(lambda: check_batch(mixing, images, "mine"), "mine", "other logits in a batch than alone")
    check_batch(mixing, images[:1], "mine")
    single = build_external(factory(f"{nets}:single"), 10, 0)
    check_batch(single, images[:1], "mine")
    refused(lambda: check_batch(single, images, "mine"), "mine", "a batch of 2 images", "RuntimeError")


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("my_nets", "package.module:function"),
        ("no_nets:build", "can't be imported"),
        ("my_nets:zzz", "has no function zzz"),
        ("my_nets:number", "not int"),
        ("my_nets:broken", "ValueError: no such thing"),
    ],
)
def test_functions_that_give_no_network_are_one_line(nets, word, said):
    refused(lambda: build_external(factory(word), 10, 0), f"model.factory={word}", said)


def test_a_network_that_cannot_classify_the_images_is_one_line(nets):
    model = build_external(factory(f"{nets}:build"), 10, 0)
    probe(model, IMAGE, 10, "mine")
    refused(lambda: probe(model, IMAGE, 7, "mine"), "mine", "(1, 7)", "(1, 10)")
    refused(lambda: probe(model, IMAGE[:, :2], 10, "mine"), "2x64x64", "RuntimeError")


def test_a_network_that_changes_its_input_in_place_is_refused():
    class InPlace(nn.Module):
        def forward(self, images):
            return images.sub_(0.5).mean((2, 3)).repeat(1, 4)[:, :10]

    before = IMAGE.clone()
    refused(lambda: probe(InPlace(), IMAGE, 10, "mine"), "mine", "changes its input in place")
    assert torch.equal(IMAGE, before)
