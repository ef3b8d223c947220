"""The sanity check: rank correlation by hand and against scipy, what is randomised when, and the command."""

import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.stats import spearmanr
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

import tiny
from fa_repro.attribution import METHODS, Context
from fa_repro.checkpoint import Checkpoint
from fa_repro.data import load_data
from fa_repro.errors import InputError
from fa_repro.models import Task, build_model, fit_whitening
from fa_repro.models.whitening import Whitening
from fa_repro.sanity import average_ranks, cascade, layers, left_as_they_are, measure, spearman
from fa_repro.sanity.cascade import INTACT, Cascade
from fa_repro.sanity.summary import COLUMNS, notes, sanity_table
from tiny import RESNET

FA_CNN = tiny.FA_CNN | {"maps_per_class": 4, "unshuffle": 2, "blocks": [1, 2]}
WHITENED = {"name": "resnet_whitened", "widths": [4, 8], "depth": 2}
IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network(config, size=8, classes=3):
    torch.manual_seed(1)
    model = build_model(config, Task(classes, 3, size, [0.4] * 3, [0.3] * 3))
    fit_whitening(model, torch.randint(0, 256, (20, 3, size, size), dtype=torch.uint8))
    model.train()(torch.rand(8, 3, size, size))  # batch statistics that are not those of a new layer
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.weight.data.uniform_(0.5, 1.5)
            norm.bias.data.uniform_(-0.5, 0.5)
    return model.eval().requires_grad_(False)


# Rank correlation


def test_ranks_by_hand():
    values = torch.tensor([[3.0, 1.0, 2.0, 1.0, 1.0], [0.0, -1.0, 5.0, 5.0, 9.0]])
    assert average_ranks(values).tolist() == [[4, 1, 3, 1, 1], [1, 0, 2.5, 2.5, 4]]


def test_rank_correlation_by_hand():
    one, other = torch.tensor([[[1.0, 2.0], [2.0, 3.0]]]), torch.tensor([[[1.0, 9.0], [2.0, 2.0]]])
    # Ranks less their mean: -1.5, 0, 0, 1.5 and -1.5, 1.5, 0, 0.
    assert spearman(one, other).tolist() == [0.5]
    assert spearman(one, one.exp()).item() == pytest.approx(1, abs=1e-15)
    assert spearman(one, -one).item() == pytest.approx(-1, abs=1e-15)


@pytest.mark.parametrize("levels", [2, 5, 10_000])
def test_rank_correlation_is_scipys_with_ties(levels):
    generator = torch.Generator().manual_seed(levels)
    one, other = (torch.randint(0, levels, (6, 7, 5), generator=generator).float() for _ in range(2))
    other[3:] += one[3:]
    ours = spearman(one, other)
    for mine, a, b in zip(ours.tolist(), one, other, strict=True):
        assert mine == pytest.approx(spearmanr(a.flatten().numpy(), b.flatten().numpy()).statistic, abs=1e-12)
    wrong = spearmanr(one[0].flatten().numpy(), other[1].flatten().numpy()).statistic
    assert ours[0].item() != pytest.approx(wrong, abs=1e-3)


def test_a_map_that_orders_nothing_correlates_with_none():
    maps = torch.rand(4, 3, 3, generator=torch.Generator().manual_seed(0))
    other = maps.clone()
    other[1] = 7.0
    other[2, 0, 0] = torch.nan
    assert (
        spearman(maps, other).isnan().tolist() == spearman(other, maps).isnan().tolist() == [False, True, True, False]
    )


# Layers


class Twisted(nn.Module):
    """Runs in another order than that of its definition; ``unused`` never runs, ``factor`` is no layer's own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(4, 3)
        self.unused = nn.Linear(4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.body = nn.ModuleDict({"late": nn.Conv2d(4, 4, 1), "early": nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())})
        self.factor = nn.Parameter(torch.ones(()))

    def forward(self, images):
        maps = self.body["late"](self.norm(self.body["early"](images)))
        return self.factor * self.head(maps.mean((2, 3)))


class Wrapper(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.scaling = nn.Identity()
        self.network = network

    def forward(self, images):
        return self.network(self.scaling(images))


class Attending(nn.Module):
    """Attention uses the weights of its Linear layer ``out_proj`` without running it."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 2, 2)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, 3)

    def forward(self, images):
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        return self.head(self.attention(tokens, tokens, tokens)[0].mean(1))


def names(model):
    return [layer.name for layer in layers(model, IMAGES[:1])]


def test_layers_go_from_the_last_to_run_to_the_first():
    assert names(network(FA_CNN)) == ["stages.1.1", "stages.1.0", "stages.0.0"]  # the GAP head has no weights
    assert names(network(RESNET)) == ["head", "layers.1", "layers.0", "stem.0"]
    assert names(network(WHITENED))[-1] == "stem.0"  # the whitening
    assert names(Twisted()) == ["head", "body.late", "body.early.0"]
    assert names(Wrapper(Twisted())) == ["network.head", "network.body.late", "network.body.early.0"]
    assert names(nn.Sequential(nn.Flatten(), nn.Linear(192, 2))) == ["1"]
    assert names(nn.Flatten()) == []


def test_a_normalisation_goes_with_the_layer_before_it():
    by_name = {layer.name: layer.modules for layer in layers(Twisted(), IMAGES[:1])}
    assert by_name["body.early.0"] == ("body.early.0", "norm")
    assert by_name["head"] == ("head",)
    block = layers(network(FA_CNN), IMAGES[:1])[0]
    assert block.modules == tuple(f"stages.1.1.branch.layers.{i}" for i in (0, 1, 3, 4, 6, 7))


def test_weights_of_no_layer_are_named():
    assert left_as_they_are(network(FA_CNN)) == ["head.log_scale"]
    assert left_as_they_are(Wrapper(Twisted())) == ["network.factor"]
    assert left_as_they_are(network(WHITENED)) == []


def test_what_was_fitted_and_no_layer_draws_anew_is_named():
    assert left_as_they_are(network(RESNET)) == ["normalize.mean", "normalize.std"]
    frozen = nn.Sequential(nn.Conv2d(3, 4, 1), FrozenBatchNorm2d(4))  # its weights are buffers
    assert left_as_they_are(frozen) == ["1.weight", "1.bias", "1.running_mean", "1.running_var"]
    frozen.register_buffer("table", torch.rand(2), persistent=False)  # computed, not learned: in no checkpoint
    frozen.register_buffer("places", torch.arange(2))
    assert left_as_they_are(frozen) == ["1.weight", "1.bias", "1.running_mean", "1.running_var"]


def test_looking_for_layers_leaves_no_hook():
    model = network(RESNET)
    layers(model, IMAGES[:1])
    assert not any(module._forward_hooks for module in model.modules())


# Randomisation


def kept_by_the_cascade(model):
    """Names of what is still as it was at the last depth."""
    intact = {key: value.clone() for key, value in model.state_dict().items()}
    *_, (_, randomised) = cascade(model, layers(model, IMAGES[:1]), 0)
    state = randomised.state_dict()
    return [key for key in intact if torch.equal(state[key], intact[key])]


@pytest.mark.parametrize("config", [FA_CNN, RESNET, WHITENED], ids=["fa_cnn", "resnet", "whitened"])
def test_at_the_last_depth_nothing_learned_or_fitted_is_left_but_what_is_named(config):
    model = network(config)
    assert kept_by_the_cascade(model) == left_as_they_are(model)


def test_attention_loses_its_last_linear_layer_too():
    model = Attending().eval().requires_grad_(False)
    model.attention.in_proj_bias.data.uniform_(-1, 1)
    model.attention.out_proj.bias.data.uniform_(-1, 1)
    assert [layer.modules for layer in layers(model, IMAGES[:1])][1] == ("attention", "attention.out_proj")
    assert kept_by_the_cascade(model) == left_as_they_are(model) == []


def test_a_whitening_that_could_not_be_drawn_would_be_left_and_named(monkeypatch):
    monkeypatch.delattr(Whitening, "reset_parameters")
    whitening = [f"stages.0.0.branch.layers.0.{name}" for name in ("directions", "offset")]
    model = network(FA_CNN)
    assert kept_by_the_cascade(model) == left_as_they_are(model) == [*whitening, "head.log_scale"]


@pytest.mark.parametrize("config", [FA_CNN, RESNET], ids=["fa_cnn", "resnet"])
def test_each_step_randomises_one_more_layer_and_keeps_the_earlier_ones(config):
    model = network(config)
    intact = {key: value.clone() for key, value in model.state_dict().items()}
    order = layers(model, IMAGES[:1])
    before, gone = intact, ()
    for layer, (name, randomised) in zip(order, cascade(model, order, 0), strict=True):
        assert name == layer.name
        state = randomised.state_dict()
        changed = {key.rpartition(".")[0] for key in state if not torch.equal(state[key], before[key])}
        assert changed == set(layer.modules)
        gone += layer.modules
        for key in state:
            if key.rpartition(".")[0] not in gone:
                assert torch.equal(state[key], intact[key])
        before = state
        assert not any(module.training for module in randomised.modules())
        assert not any(weight.requires_grad for weight in randomised.parameters())
    assert all(torch.equal(value, intact[key]) for key, value in model.state_dict().items())
    for module in randomised.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert (module.running_mean == 0).all() and (module.running_var == 1).all() and (module.weight == 1).all()


def test_weights_are_drawn_as_the_layers_own_and_by_the_seed():
    model = Twisted().eval()
    order = layers(model, IMAGES[:1])
    generator_state = torch.get_rng_state()
    steps = [{k: v.clone() for k, v in net.state_dict().items()} for _, net in cascade(model, order, 5)]
    assert torch.equal(torch.get_rng_state(), generator_state)
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(5)
        head, late = nn.Linear(4, 3), nn.Conv2d(4, 4, 1)  # a new layer draws what reset_parameters draws
    assert torch.equal(steps[-1]["head.weight"], head.weight) and torch.equal(steps[-1]["head.bias"], head.bias)
    assert torch.equal(steps[-1]["body.late.weight"], late.weight)
    again = [net.state_dict() for _, net in cascade(model, order, 5)]
    other = [net.state_dict() for _, net in cascade(model, order, 6)]
    assert all(torch.equal(steps[-1][key], again[-1][key]) for key in steps[-1])
    assert not torch.equal(other[0]["head.weight"], head.weight)


class Uncopied(Twisted):
    def __deepcopy__(self, memo):
        raise RuntimeError("one of its kind\nand more")


def test_a_model_that_cannot_be_copied_is_one_line_before_any_map_is_made():
    model, ticks = Uncopied().eval().requires_grad_(False), []
    arguments = {"methods": ["center"], "context": Context(), "tick": ticks.append}
    targets, order = torch.zeros(4, dtype=torch.int64), layers(model, IMAGES[:1])
    with pytest.raises(InputError) as error:
        measure(model, (IMAGES * 255).byte(), targets, order, **arguments)
    assert "can't be copied (RuntimeError: one of its kind)" in str(error.value) and "\n" not in str(error.value)
    assert not ticks
    measure(Twisted().eval(), (IMAGES * 255).byte(), targets, order, **arguments)
    assert sum(ticks) == 4 * 4


# The check


def explain_by_weights(model, images, targets, context):
    """Relevance = the target's weights of the head times the image: follows what is learned in the head alone."""
    return (model.head.weight[targets][:, :3, None, None] * images).sum(1)


def test_a_method_that_reads_weights_loses_its_map_and_one_that_does_not_keeps_it(monkeypatch):
    monkeypatch.setitem(METHODS, "by_weights", explain_by_weights)
    monkeypatch.setitem(METHODS, "by_image", lambda model, images, targets, context: images.mean(1))
    model, targets = Twisted().eval().requires_grad_(False), torch.tensor([2, 0, 1, 2])
    pixels = (IMAGES * 255).byte()
    order = layers(model, IMAGES[:1])
    ticks = []
    methods = ["by_weights", "by_image", "random", "center"]
    context = Context(seed=3, batch_size=3)
    measured = measure(model, pixels, targets, order, methods=methods, context=context, tick=ticks.append)
    assert measured.layers == (INTACT, "head", "body.late", "body.early.0")
    assert measured.correlation.shape == (4, 4, 4) and sum(ticks) == 4 * 4 * 4
    assert measured.correlation[1:] == pytest.approx(1, abs=1e-12)
    assert measured.correlation[0, 0] == pytest.approx(1, abs=1e-12)
    ((_, randomised), *_) = cascade(model, order, 3)
    batch = pixels.float() / 255
    wanted = spearman(*(explain_by_weights(net, batch, targets, context) for net in (model, randomised)))
    assert measured.correlation[0, 1] == pytest.approx(wanted.numpy(), abs=1e-12)
    assert (measured.correlation[0, 1:] < 0.99).all()
    assert measured.correlation[0, 3] == pytest.approx(measured.correlation[0, 1])  # the head changes once


def test_the_table_counts_degenerate_maps_and_leaves_them_out():
    nan = float("nan")
    correlation = [[[1.0, 1, 1, 1], [0.5, nan, 0.1, nan]], [[1.0, 1, 1, 1], [1, 1, 1, 1]], [[nan] * 4, [nan] * 4]]
    measured = Cascade(
        ("grad_cam", "center", "occlusion"), (INTACT, "head"), torch.tensor(correlation).double().numpy()
    )
    table = sanity_table(measured, 500, 0)
    assert tuple(table.columns) == COLUMNS
    line = table[(table.method == "grad_cam") & (table.depth == 1)].iloc[0]
    assert (line.layer, line.degenerate, line.n) == ("head", 2, 4)
    assert line.correlation == pytest.approx(0.3) and (line.low, line.high) == pytest.approx((0.1, 0.5))
    assert table[table.method == "occlusion"].correlation.isna().all()
    said = "\n".join(notes(table))
    assert "`center` can't know of the weights; their correlation never falls below 1.000" in said
    assert "`grad_cam`: up to 2 of 4 maps" in said and "still correlates" not in said
    measured.correlation[0, 1] = 0.8
    assert "`grad_cam` still correlates at 0.80 when nothing learned is left" in "\n".join(
        notes(sanity_table(measured, 500, 0))
    )


# The command


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sanity")
    data = {"name": "shapes", "root": None, "download": False, "n_train": 20, "n_test": 20, "image_size": 16}
    data |= {"mirror": True, "cache": str(folder / "cache"), "seed": 0}
    train = load_data(data, "train")
    task = Task(len(train.classes), 3, 16, *train.statistics())
    state = network(FA_CNN, 16, len(train.classes)).state_dict()
    trainer = {"augment": {"crop": 0, "flip": True, "cutout": 0, "removal": 0.0}}
    with (folder / "checkpoint.pt").open("wb") as file:
        Checkpoint(FA_CNN, task._asdict(), list(train.classes), state, data, trainer, seed=7).save(file)
    return folder / "checkpoint.pt"


@pytest.mark.slow
def test_the_command_writes_its_tables_and_is_not_run_twice(checkpoint, cli, tmp_path):
    words = ["benchmark-sanity", f"checkpoint={checkpoint}", f"results={tmp_path}", "name=run", "n_images=4"]
    words += ["methods=[feature_map,occlusion,random,center]", "bootstrap=100", "device=cpu"]
    answer = cli(*words)
    assert answer.code == 0, answer.err
    path = tmp_path / "benchmark-sanity" / "run"
    table = pd.read_csv(path / "sanity.csv")
    assert tuple(table.columns) == COLUMNS and set(table.n) == {4}
    assert table.groupby("method", sort=False).layer.agg(list).to_dict() == {
        method: [INTACT, "stages.1.1", "stages.1.0", "stages.0.0"]
        for method in ("feature_map", "occlusion", "random", "center")
    }
    controls = table[table.method.isin(["random", "center"])]
    assert (controls.correlation - 1).abs().max() < 1e-6 and (controls.degenerate == 0).all()
    learned = table[~table.method.isin(["random", "center"]) & (table.depth == 3)]
    assert (learned.correlation < 0.999).all() and (learned.low <= learned.correlation).all()
    page = (path / "summary.md").read_text()
    assert page in answer.out and "`head.log_scale`" in page and "Control: `random` and `center`" in page
    with Image.open(path / "sanity.png") as image:
        assert min(image.size) > 200
    assert (path / "DONE.json").exists()
    assert "already finished" in cli(*words).out
    refused = cli(*words, "n_images=3")
    assert refused.code == 2 and "n_images" in refused.err and refused.err.count("\n") == 1
