"""Classifiers that are not ours, torchvision's and the user's, in the commands; what the commands refuse of them."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from fa_repro.attribution import Context
from fa_repro.attribution.grad_cam import grad_cam
from fa_repro.data import load_data
from fa_repro.data.shapes import CLASSES
from fa_repro.models.external import build_external
from fa_repro.speed import removal
from networks import TORCHVISION_RESNET
from samples import picture


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
    torch.save(build_external(TORCHVISION_RESNET, 10, 6).net.state_dict(), weights)  # another file under the same name
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
    model = build_external(TORCHVISION_RESNET | {"weights": str(weights)}, 10, 0).requires_grad_(False)
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
