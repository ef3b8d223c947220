"""Classifiers that are not ours, torchvision's and the user's, in the benchmarks."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from fa_repro.attribution import Context
from fa_repro.attribution.feature_layer import check_layer, choose_layer, last_convolutional_stage
from fa_repro.attribution.grad_cam import grad_cam
from fa_repro.data import load_data
from fa_repro.data.shapes import CLASSES
from fa_repro.models import Task, build_model
from fa_repro.models.external import IMAGENET_MEAN, IMAGENET_STD, build_external, check_batch, factory_file, probe
from fa_repro.speed import removal
from refusals import refusal
from samples import picture

RESNET = {"name": "resnet18", "weights": None}
IMAGE = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
NETS = '''
import torch
from torch import nn

class Net(nn.Module):
    """Ten classes; the body ends with a ReLU that works in place."""
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, 2), nn.ReLU(inplace=True))
        self.head = nn.Linear(4, 10)
        self.spare = nn.Conv2d(3, 3, 1)
    def forward(self, images):
        return self.head(self.body(images - 0.5).mean((2, 3)))

def build():
    torch.manual_seed(0)
    return Net()

class Blind(Net):
    """Classifies without gradients."""
    @torch.no_grad()
    def forward(self, images):
        return super().forward(images)

def blind():
    return Blind()

def two():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(2))

def number():
    return 3

def lazy():
    from my_other_nets import build
    return build()

class Together(Net):
    """Normalises an image by its batch."""
    def forward(self, images):
        return super().forward(images - images.mean())

def together():
    return Together()

def broken():
    raise ValueError("no such thing")
'''


@pytest.fixture
def nets(workplace):
    """A module of the user's in the working directory; its name."""
    (workplace / "my_nets.py").write_text(NETS)
    (workplace / "my_other_nets.py").write_text(NETS)
    (workplace / "my_package").mkdir()
    (workplace / "my_package/__init__.py").write_text("from my_package.inner import build")
    (workplace / "my_package/inner.py").write_text(NETS)

    def forget():
        for name in ("my_nets", "my_other_nets", "my_package", "my_package.inner"):
            sys.modules.pop(name, None)

    forget()
    yield "my_nets"
    forget()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """torchvision's ResNet-18 with ten classes and random weights, as a training script saves it."""
    path = tmp_path_factory.mktemp("weights") / "resnet18.pt"
    torch.save({"model": {f"module.{k}": v for k, v in build_external(RESNET, 10, 5).net.state_dict().items()}}, path)
    return path


def factory(word, weights=None):
    return {"name": "factory", "factory": word, "weights": weights}


def refused(act, *words):
    text = refusal(act)
    assert all(word in text for word in words), text


# torchvision


def test_torchvisions_network_gets_imagenets_normalisation(weights):
    from torchvision.models import resnet18

    model = build_external(RESNET | {"weights": str(weights)}, 10, 0)
    theirs = resnet18(num_classes=10)
    theirs.load_state_dict({k.removeprefix("module."): v for k, v in torch.load(weights)["model"].items()})
    theirs.eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        assert torch.allclose(model(IMAGE), theirs((IMAGE - mean) / std), atol=1e-5)
        assert not torch.allclose(model(IMAGE), theirs(IMAGE), atol=1e-2)
    assert not model.training


def test_random_weights_are_the_seeds():
    one, same, other = (build_external(RESNET, 10, seed).net.fc.weight for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)


def test_weights_and_names_that_do_not_fit_are_one_line(weights, tmp_path):
    refused(lambda: build_external({"name": "resnet81", "weights": None}, 10, 0), "resnet81", "Did you mean resnet18?")
    missing = RESNET | {"weights": str(tmp_path / "gone.pt")}
    refused(lambda: build_external(missing, 10, 0), "model.weights=", "gone.pt", "no such file")
    for name, content in (("text.pt", b"text"), ("empty.pt", b"")):
        (tmp_path / name).write_bytes(content)
        refused(
            lambda name=name: build_external(RESNET | {"weights": str(tmp_path / name)}, 10, 0), name, "no state dict"
        )
    torch.save([1, 2], tmp_path / "list.pt")
    refused(lambda: build_external(RESNET | {"weights": str(tmp_path / "list.pt")}, 10, 0), "holds no state dict")
    fits_not = RESNET | {"weights": str(weights)}
    refused(lambda: build_external(fits_not, 7, 0), "don't fit resnet18", "fc.weight")
    refused(
        lambda: build_external(fits_not | {"name": "squeezenet1_1"}, 10, 0),
        "don't fit squeezenet1_1",
        "features.0.weight",
    )


def test_they_are_not_trained():
    task = Task(10, 3, 32, [0.5] * 3, [0.2] * 3)
    refused(lambda: build_model(RESNET, task), "benchmark-removal")
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


# The layer of Grad-CAM


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
    model = build_external(RESNET, 10, 0)
    assert last_convolutional_stage(model, IMAGE[:, :, :32, :32]) == "net.layer3"  # layer4 is left with a single one
    assert last_convolutional_stage(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), IMAGE[:, :, :2, :2]) is None


def test_layers_that_have_no_maps_are_one_line(nets):
    model = build_external(factory(f"{nets}:build"), 10, 0)
    check_layer(model, "body.1", IMAGE)
    refused(lambda: check_layer(model, "bodi", IMAGE), "layer=bodi", "body, head")
    refused(lambda: check_layer(model, "spare", IMAGE), "does not run")
    refused(lambda: check_layer(model, "head", IMAGE), "(1, 10)", "(N,C,h,w)")


def test_which_layer_grad_cam_gets(nets):
    torchvisions, mine = build_external(RESNET, 10, 0), build_external(factory(f"{nets}:build"), 10, 0)
    assert choose_layer(torchvisions, None, IMAGE) == "net.layer4"
    assert (
        choose_layer(torchvisions, "layer3", IMAGE) == choose_layer(torchvisions, "net.layer3", IMAGE) == "net.layer3"
    )
    assert choose_layer(mine, None, IMAGE) == "body"
    mine.last_feature_layer = mine.body[0]
    assert choose_layer(mine, None, IMAGE) is None


def test_grad_cam_of_a_named_layer_is_captums_even_before_a_relu_in_place(nets):
    captum = pytest.importorskip("captum.attr")
    model, target = build_external(factory(f"{nets}:build"), 10, 0).requires_grad_(False), torch.tensor([4])
    maps = {}
    for layer in ("body.1", "body.0"):
        cam = captum.LayerGradCam(model, model.get_submodule(layer))
        # captum's own hook can't look at a layer whose output is then changed in place.
        model.body[2].inplace = False
        wanted = cam.attribute(IMAGE.clone().requires_grad_(), target=target, relu_attributions=True).detach()
        model.body[2].inplace = True
        wanted = nn.functional.interpolate(wanted, size=(64, 64))[:, 0]
        maps[layer] = grad_cam(model, IMAGE, target, Context(layer=layer, upsampling="nearest"))
        assert wanted.max() > 0
        assert torch.allclose(maps[layer], wanted, rtol=1e-4, atol=1e-7)
    assert not torch.allclose(maps["body.0"], maps["body.1"], rtol=0.1)


# The commands


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    return [
        "data=shapes",
        "data.n_test=20",
        "data.image_size=32",
        f"data.cache={folder}",
        "device=cpu",
        "bootstrap=100",
    ]


@pytest.mark.slow
def test_removal_of_a_torchvision_network(cli, workplace, shapes, weights):
    weights = shutil.copy(weights, workplace / "resnet18.pt")  # another file takes its place below
    words = [*shapes, "model=torchvision", "model.name=resnet18", f"model.weights={weights}", "n_images=4"]
    words += ["methods=[feature_map,grad_cam,random]", "fractions=[0,0.5,1]"]
    answer = cli("benchmark-removal", *words)
    assert answer.code == 0, answer.err
    path = workplace / "results/benchmark-removal/shapes-resnet18-seed0"
    assert list(pd.read_csv(path / "summary.csv").method.unique()) == ["grad_cam", "random", "center"]
    page = (path / "summary.md").read_text()
    assert "resnet18 with the weights of resnet18.pt" in page and "`feature_map` is left out" in page
    assert "already finished" in cli("benchmark-removal", *words).out
    torch.save(build_external(RESNET, 10, 6).net.state_dict(), weights)  # another file under the same name
    other = cli("benchmark-removal", *words)
    assert other.code == 2 and "inputs.weights" in other.err


@pytest.mark.slow
def test_explanation_of_the_users_own_network(cli, workplace, shapes, nets, tree):
    write, root = tree
    write("mine/a.png", picture(0, 32, 32, 3))
    own = ["model=factory", f"model.factory={nets}:build", f"images={root}/mine", "name=mine"]
    answer = cli("explain", *shapes[:-1], *own, "methods=[feature_map,grad_cam,occlusion]", "layer=body.1")
    assert answer.code == 0, answer.err
    path = workplace / "results/explain/mine"
    maps = np.load(path / "maps.npz")
    assert set(maps) == {"files", "targets", "grad_cam", "occlusion"}  # it has no class maps
    defined = {}
    exec((workplace / f"{nets}.py").read_text(), defined)
    with torch.inference_mode():
        model = defined["build"]().eval()
        image = torch.from_numpy(picture(0, 32, 32, 3)).permute(2, 0, 1)[None] / 255
        probability = model(image).softmax(1)[0]
    table = pd.read_csv(path / "predictions.csv")
    assert maps["targets"].tolist() == [CLASSES[int(probability.argmax())]] == [table["class"][0]]
    assert table.probability.tolist() == pytest.approx(probability.sort(descending=True).values[:5].tolist(), rel=1e-5)


@pytest.mark.slow
def test_sanity_of_the_users_own_network(cli, workplace, shapes, nets):
    words = [*shapes, "model=factory", f"model.factory={nets}:build", "n_images=4", "methods=[grad_cam,center]"]
    answer = cli("benchmark-sanity", *words, "layer=body.1")
    assert answer.code == 0, answer.err
    path = workplace / "results/benchmark-sanity/shapes-factory-seed0"
    table = pd.read_csv(path / "sanity.csv")
    assert table.layer.unique().tolist() == ["(none)", "head", "body.1", "body.0"]
    assert table.method.unique().tolist() == ["grad_cam", "center", "random"]
    assert f"factory as {nets}:build returns it" in (path / "summary.md").read_text()


@pytest.mark.slow
def test_localization_of_a_torchvision_network(cli, workplace, shapes, weights):
    words = [*shapes, "model=torchvision", "model.name=resnet18", f"model.weights={weights}", "n_images=4"]
    answer = cli("benchmark-localization", *words, "methods=[feature_map,grad_cam]", "layer=layer3")
    assert answer.code == 0, answer.err
    path = workplace / "results/benchmark-localization/shapes-resnet18-seed0"
    table = pd.read_csv(path / "localization.csv")
    assert table.method.tolist() == ["grad_cam", "random", "center"] * 2
    assert table.measure.unique().tolist() == ["pointing_game", "energy"] and set(table.n) == {4}
    page = (path / "summary.md").read_text()
    assert "resnet18 with the weights of resnet18.pt" in page
    for said in (
        "`feature_map` is left out",
        "controls `random`, `center` are added",
        "`grid` and `grid_peak` are left out: grid=2",
    ):
        assert said in page and said in answer.out.partition("#")[0]
    # By the named layer, from the files again: the share of each map's positive part that lies in the mask.
    data = {"name": "shapes", "root": None, "n_train": None, "n_test": 20, "image_size": 32, "seed": None}
    test = load_data(data | {"cache": shapes[3].partition("=")[2]}, "test")
    model = build_external(RESNET | {"weights": str(weights)}, 10, 0).requires_grad_(False)
    maps = pd.read_csv(path / "per_image.csv.gz")
    energies = maps[(maps.measure == "energy") & (maps.method == "grad_cam") & (maps.degenerate == 0)]
    assert len(energies) >= 2
    for layer, same in (("net.layer3", True), ("net.layer2", False)):
        rows, targets = torch.tensor(energies.image.to_numpy()), torch.tensor(energies.target.to_numpy())
        found = grad_cam(model, test.images[rows].float() / 255, targets, Context(layer=layer)).double()
        share = (found * test.masks[rows]).sum((1, 2)) / found.sum((1, 2))
        assert np.allclose(energies.value, share, atol=1e-5) == same


@pytest.mark.slow
def test_captums_methods_on_the_users_own_network(cli, workplace, shapes, nets):
    pytest.importorskip("captum")
    words = [*shapes, "model=factory", f"model.factory={nets}:build", "n_images=2", "measures=[energy]"]
    for n_steps in (1, 3):
        answer = cli(
            "benchmark-localization", *words, "methods=[integrated_gradients]", f"n_steps={n_steps}", f"name={n_steps}"
        )
        assert answer.code == 0, answer.err
    one, three = (
        pd.read_csv(workplace / f"results/benchmark-localization/{n}/per_image.csv.gz").set_index("method").value
        for n in (1, 3)
    )
    assert (one.loc["center"] == three.loc["center"]).all()
    assert (one.loc["integrated_gradients"] != three.loc["integrated_gradients"]).all()


@pytest.mark.slow
def test_a_network_without_gradients_is_measured_without_grad_cam(cli, workplace, shapes, nets):
    words = [*shapes, "model=factory", f"model.factory={nets}:blind", "n_images=2", "fractions=[0,1]"]
    answer = cli("benchmark-removal", *words, "methods=[grad_cam,occlusion]")
    assert answer.code == 0, answer.err
    path = workplace / "results/benchmark-removal/shapes-factory-seed0"
    assert pd.read_csv(path / "summary.csv").method.unique().tolist() == ["occlusion", "random", "center"]
    assert "`grad_cam` is left out" in (path / "summary.md").read_text()


def test_speed_of_explaining_and_removing_with_the_users_own_network(cli, workplace, shapes, nets, monkeypatch):
    monkeypatch.setattr(removal, "SIDES", {32: (2, 1)})
    words = [*shapes[:-1], "model=factory", f"model.factory={nets}:build", "n_patched=2", "repeats=1", "rounds=1"]
    for what, wanted in (
        ("explanation", {"prediction", "grad_cam"}),
        ("removal", {"plain forward pass", "removal, mean", "permutation"}),
    ):
        answer = cli("benchmark-speed", f"what={what}", *words, "n_images=4", "n_removed=2")
        assert answer.code == 0, answer.err
        folder = workplace / f"results/benchmark-speed/{what}-shapes-factory-seed0"
        assert wanted <= set(pd.read_csv(folder / "speed.csv").contender)
        assert (folder / "summary.md").read_text().startswith(f"# Speed of {what}\n\nfactory on shapes, ")
    identity = (folder / ".identity.json").read_text()
    assert '"factory": "' in identity.partition('"inputs"')[2]  # the digest of the user's file


def test_speed_refuses_a_layer_that_is_none(cli, workplace, shapes, nets):
    words = [*shapes[:-1], "what=explanation", "model=factory", f"model.factory={nets}:build", "layer=zzz"]
    answer = cli("benchmark-speed", *words)
    assert answer.code == 2 and "layer=zzz" in answer.err and answer.err.count("\n") == 1
    assert not list(workplace.glob("results/*"))


@pytest.mark.parametrize("command", [("benchmark-speed", "what=training"), ("verify-gradcam",), ("train",)])
def test_nothing_is_trained_or_proved_about_networks_that_are_not_ours(cli, workplace, shapes, nets, command):
    for words in (("model=factory", f"model.factory={nets}:build"), ("model=torchvision", "model.name=resnet18")):
        answer = cli(*command, *shapes[:-1], *words)
        assert answer.code == 2 and "benchmark-localization" in answer.err and answer.err.count("\n") == 1, answer
    assert not list(workplace.glob("results/*"))


@pytest.mark.parametrize("command", ["benchmark-sanity", "benchmark-localization"])
def test_what_does_not_go_together_is_one_line(cli, workplace, shapes, nets, command):
    own = ("model=factory", f"model.factory={nets}:build")
    for words, said in (
        (("checkpoint=a.pt", *own), "contradict"),
        (own, "data=NAME"),
        ((*shapes, "model=torchvision"), "model.name"),
        ((*shapes, "model=factory", f"model.factory={nets}:two"), "(1, 10)"),
        ((*shapes, *own, "layer=zzz"), "layer=zzz"),
        ((*shapes, "model=factory", f"model.factory={nets}:blind", "layer=body"), "layer=body"),
    ):
        answer = cli(command, *words)
        assert answer.code == 2 and said in answer.err and answer.err.count("\n") == 1, answer
    assert not list(workplace.glob("results/*"))
