"""The folded network against the network itself, and the benchmark read by either."""

import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import tiny
from fa_repro import localization, reader, sanity
from fa_repro.attribution import Context
from fa_repro.checkpoint import load_model
from fa_repro.models import Task, build_model
from fa_repro.reader import Reader, fold_batch_norm
from fa_repro.removal import measure, per_image_table, write_per_image
from fa_repro.removal.summary import precision_notes
from tiny import FA_CNN

PRETRAINED = Path(__file__).parents[1] / "results" / "pretrained" / "fa_cnn_fine_cifar10.pt"
MEAN, STD = torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.2, 0.2])
TASK = Task(3, 3, 8, MEAN.tolist(), STD.tolist())
FA = FA_CNN
LINEAR_HEAD = FA | {"name": "fa_cnn_linear_head", "head": "linear"}
RESNET = tiny.RESNET | {"widths": [8, 16]}
SETTINGS = {"orders": ("morf", "lerf"), "fractions": [0, 0.25, 0.5, 1], "target": "label", "mean": MEAN, "std": STD}


def network(config=FA, seed=0):
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


@pytest.fixture
def images():
    return torch.randint(0, 256, (7, 3, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


LABELS = torch.arange(7) % 3


def off(one, other, images):
    with torch.inference_mode():
        logits, others = one(images), other(images)
    return max(float((logits - others).abs().max()), float((logits.softmax(1) - others.softmax(1)).abs().max()))


def norms(model):
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def has_batch_norm(model):
    return any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize("config", [FA, RESNET, LINEAR_HEAD], ids=lambda config: config["name"])
def test_a_folded_network_has_no_batch_norm_and_the_same_logits(config, images):
    model, values = network(config), images.float() / 255
    before = {name: value.clone() for name, value in model.state_dict().items()}
    read = Reader(model, values)
    assert has_batch_norm(model) and not has_batch_norm(read) and read.folded
    assert off(read, model, values) < 1e-5
    assert off(read, network(config, seed=1), values) > 1e-3  # other weights show
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    assert off(read, model, values) > 1e-3  # and so do statistics that were not folded in
    model.load_state_dict(before)
    assert off(read, model, values) < 1e-5
    assert all(parameter.is_contiguous() for parameter in model.parameters())


@pytest.mark.skipif(not PRETRAINED.exists(), reason="a wheel's tests have no results beside them")
def test_the_pretrained_network_is_folded_and_reads_the_same():
    model = load_model(PRETRAINED)
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    read = Reader(model, images)
    # Of eleven batch norms the two behind a max-pooling stay: with a negative factor the order matters.
    assert read.folded and [len(norms(network)) for network in (model, read)] == [11, 2]
    assert off(read, model, images) < 1e-5


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = network(RESNET)

    def forward(self, images):
        return self.net(images) if images.sum() > 0 else -self.net(images)


class Twice(nn.Module):
    """One convolution with two batch norms: folded into it, the second would follow the first everywhere."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.one, self.two = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        for norm in (self.one, self.two):
            nn.init.normal_(norm.weight)
            nn.init.uniform_(norm.running_mean)

    def forward(self, images):
        return self.two(self.conv(self.one(self.conv(images)).relu())).mean((2, 3))


class Uncopied(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = network(RESNET)

    def __deepcopy__(self, memo):
        raise RuntimeError("one of its kind")

    def forward(self, images):
        return self.net(images)


@pytest.mark.parametrize("kind", [Branching, Twice, Uncopied])
def test_a_network_that_cannot_be_folded_is_read_as_it_is(kind, images):
    model, values = kind().eval(), images.float() / 255
    read = Reader(model, values)
    assert not read.folded and has_batch_norm(read)
    assert off(read, model, values) < 1e-5
    if kind is Twice:
        assert off(fold_batch_norm(model), model, values) > 1e-3  # it can be traced, and comes out wrong
    else:
        assert fold_batch_norm(model) is None


def test_a_copy_with_wrong_weights_is_seen_and_not_used(images, monkeypatch):
    model, values = network(), images.float() / 255

    def wrong(model):
        folded = fold_batch_norm(model)
        with torch.no_grad():
            folded.get_submodule("stages.1.0.branch.layers.0").weight *= 1.001
        return folded

    assert off(wrong(model), model, values) > 1e-5
    monkeypatch.setattr(reader, "fold_batch_norm", wrong)
    read = Reader(model, values)
    assert not read.folded and off(read, model, values) < 1e-5


def test_a_batch_is_read_in_parts_of_so_many_pixels_and_comes_out_whole(images, monkeypatch):
    read, values, sizes = Reader(network(), images.float() / 255), images.float() / 255, []
    whole = read(values)
    read.model.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    for pixels, least, expected in ((3 * 64, 1, [3, 3, 1]), (3 * 64, 5, [5, 2]), (65 * 64, 1, [7])):
        monkeypatch.setattr(reader, "PART_PIXELS", pixels)
        monkeypatch.setattr(reader, "PART_IMAGES", least)
        sizes.clear()
        assert off(read, lambda given: whole, values) < 1e-5 < 1e-3 < off(read, lambda given: whole.flip(0), values)
        assert sizes == 2 * expected


def test_the_memory_format_is_channels_last_unless_contiguous_is_clearly_faster(images, monkeypatch):
    def chosen(contiguous, channels_last):
        def seconds(self, laid):
            return channels_last if laid.is_contiguous(memory_format=torch.channels_last) else contiguous

        monkeypatch.setattr(Reader, "_seconds", seconds)
        read = Reader(network(), images.float() / 255)
        weight = next(parameter for parameter in read.parameters() if parameter.dim() == 4)
        assert weight.is_contiguous(memory_format=read.memory_format)
        return read.memory_format

    assert chosen(1.0, 1.0) == chosen(1.0, 1.4) == torch.channels_last
    assert chosen(1.0, 1.6) == torch.contiguous_format


class Strided(nn.Module):
    """A strided 1x1 convolution, narrow or wide."""

    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, channels, 3), nn.Conv2d(channels, channels, 1, stride=2))

    def forward(self, images):
        return self.layers(images).mean((2, 3))


class Viewing(nn.Module):
    """Asks for maps that lie channel by channel."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        self.head = nn.Linear(8 * 6 * 6, 3)

    def forward(self, images):
        return self.head(self.layers(images).view(len(images), -1))


def test_what_channels_last_would_break_is_read_contiguous(images, monkeypatch):
    def seconds(self, laid):
        return 1.0 if laid.is_contiguous(memory_format=torch.channels_last) else 2.0

    monkeypatch.setattr(Reader, "_seconds", seconds)
    values = images.float() / 255
    for model, wanted in (
        (Strided(4), torch.contiguous_format),
        (Strided(8), torch.channels_last),
        (Viewing(), torch.contiguous_format),
    ):
        model.eval().requires_grad_(False)
        read = Reader(model, values)
        assert read.memory_format == wanted and off(read, model, values) < 1e-5


def test_memory_that_is_gone_is_no_reason_to_read_otherwise(images):
    class Full(nn.Module):
        def forward(self, images):
            raise torch.OutOfMemoryError("no room")

    with pytest.raises(torch.OutOfMemoryError):
        Reader(Full().eval(), images.float() / 255)
    with pytest.raises(torch.OutOfMemoryError):
        reader._agree(Full().eval(), images.float() / 255, torch.zeros(7, 3))


def plainly(model, images, monkeypatch):
    """A reader of the network as it is: nothing folded, contiguous."""
    with monkeypatch.context() as patch:
        patch.setattr(reader, "fold_batch_norm", lambda model: None)
        patch.setattr(reader, "MARGIN", 0.0)
        return Reader(model, images)


@pytest.mark.parametrize("config", [FA, RESNET], ids=lambda config: config["name"])
def test_the_benchmark_reads_the_same_with_it(config, images, monkeypatch):
    model, values = network(config), images.float() / 255
    context = Context(patch=4, repeats=1, batch_size=4)
    settings = SETTINGS | {"methods": ["occlusion", "grad_cam", "random"], "imputations": ["mean", "blur"]}
    settings |= {"context": context, "target": "predicted"}
    plain = plainly(model, values, monkeypatch)
    assert has_batch_norm(plain) and off(plain, model, values) == 0
    for one, other in zip(
        measure(model, images, LABELS, **settings),
        measure(model, images, LABELS, **settings, reader=plain),
        strict=True,
    ):
        assert np.abs(one.probability - other.probability).max() < 1e-5
        assert np.abs(one.logit - other.logit).max() < 1e-5
        assert np.array_equal(one.prediction, other.prediction) and np.array_equal(one.targets, other.targets)
    wrong = measure(model, images, LABELS, **settings, reader=Reader(network(config, seed=1), values))
    assert np.abs(wrong[1].probability - other.probability).max() > 1e-3


def test_an_end_point_is_read_once_for_all_methods_and_orders(images):
    sizes = []

    class Counting(Reader):
        def forward(self, images):
            sizes.append(len(images))
            return super().forward(images)

    model = network()
    counting = Counting(model, images.float() / 255)
    settings = SETTINGS | {"methods": ["center", "random", "feature_map"], "imputations": ["zero", "noise"]}
    ticks = []
    measure(model, images, LABELS, **settings, context=Context(batch_size=4), reader=counting, tick=ticks.append)
    assert sum(sizes) == sum(ticks) == 7 * (1 + 2 * (1 + 3 * 2 * 2))  # 2 of the 4 fractions are end points
    assert max(sizes) == 4


def test_the_error_of_bf16_is_measured_on_the_first_batch(images):
    model, values = network(RESNET), images.float() / 255
    settings = SETTINGS | {"methods": ["center", "random"], "imputations": ["mean"], "context": Context(batch_size=5)}
    rough = Reader(model, values, "bf16")
    assert 1e-6 < off(rough, model, values) < 0.2
    assert off(rough.in_fp32(), model, values) < 1e-5
    (exact,) = measure(model, images, LABELS, **settings)
    (read,) = measure(model, images, LABELS, **settings, reader=rough)
    assert exact.error is None and precision_notes([[exact]]) == []
    difference = np.abs(read.probability - exact.probability)[0, :, :, :5]
    assert read.error.n == 2 * 4 * 5
    assert read.error.largest == pytest.approx(difference.max(), abs=1e-6)
    assert read.error.mean == pytest.approx(difference.mean(), abs=1e-6)
    assert read.error.largest > read.error.mean > 1e-5
    better = read._replace(error=read.error._replace(largest=0.0))
    (note,) = precision_notes([[better], [read]])  # of two trainings
    assert f"{read.error.largest:.1e} at most and {read.error.mean:.1e} on average" in note


class NearlyTied(nn.Module):
    """Logit 1 is ahead of the others by 1/1000: a lead that fp32 sees and bf16 rounds away."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3, bias=False)
        self.layer.weight.data = torch.tensor([1.0, 1.001, 1.0])[:, None].expand(3, 3).clone()

    def forward(self, images):
        return self.layer(images.mean((2, 3)) * 0 + 1)


def test_in_bf16_the_target_is_what_fp32_predicts(images):
    model, values = NearlyTied().eval().requires_grad_(False), images.float() / 255
    rough = Reader(model, values, "bf16")
    assert rough(values).argmax(1).tolist() == [0] * 7 and rough.in_fp32()(values).argmax(1).tolist() == [1] * 7
    settings = SETTINGS | {"methods": ["center"], "imputations": ["mean"], "context": Context(batch_size=5)}
    for target, wanted in (("predicted", [1] * 7), ("label", LABELS.tolist()), (2, [2] * 7)):
        (read,) = measure(model, images, LABELS, **settings | {"target": target}, reader=rough)
        assert read.targets.tolist() == wanted
        assert (read.prediction == 0).all()  # the readings are bf16's all the same


def test_fp32_is_read_without_tf32(images, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    model, seen = network(), []
    exact = Reader(model, images.float() / 255)
    rough = Reader(model, images.float() / 255, "bf16")
    for read, allowed in ((exact, False), (rough, True), (rough.in_fp32(), False)):
        hook = read.model.register_forward_pre_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
        read(images.float() / 255)
        hook.remove()
        assert seen.pop() is allowed and not seen
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_changes_nothing_beyond_rounding(images):
    model = network()
    methods = ["feature_map", "depth_map", "grad_cam", "permutation", "occlusion", "random", "center"]
    settings = SETTINGS | {"methods": methods, "imputations": ["mean", "blur", "noise", "noisy_linear"]}
    context = Context(batch_size=4, repeats=2, patch=2)
    here = measure(model, images, LABELS, context=context, **settings)
    there = measure(model.cuda(), images.cuda(), LABELS.cuda(), context=context, **settings)
    for one, other in zip(here, there, strict=True):
        # In fp32 without TF32. Two solutions of noisy linear's are as alike as its tolerance has them.
        close = 5e-5 if one.imputation == "noisy_linear" else 1e-5
        assert np.abs(one.probability - other.probability).max() < close
        assert (one.targets == other.targets).all() and (one.degenerate == other.degenerate).all()
    wrong = measure(network(seed=1).cuda(), images.cuda(), LABELS.cuda(), context=context, **settings)
    assert np.abs(wrong[0].probability - here[0].probability).max() > 1e-3


def test_the_rows_are_written_part_by_part_as_they_would_be_whole(images):
    model = network()
    settings = SETTINGS | {"methods": ["center", "random"], "imputations": ["mean", "zero"], "context": Context()}
    measured = measure(model, images, LABELS, **settings)
    rows = np.arange(100, 107)
    file, again = io.BytesIO(), io.BytesIO()
    write_per_image(file, measured, rows)
    write_per_image(again, measured, rows)
    whole = pd.concat([per_image_table(one, rows) for one in measured]).to_csv(index=False)
    assert gzip.decompress(file.getvalue()).decode() == whole
    assert file.getvalue() == again.getvalue()
    assert whole.count("\n") == 1 + 2 * 2 * 2 * 4 * 7


def where_the_truth_is(model, images, methods):
    masks = torch.zeros(len(images), 8, 8, dtype=torch.bool)
    masks[:, :4] = True
    words = {"measures": ["energy"], "target": "label", "tolerance": 0}
    localization.measure_truth(model, images, LABELS, masks, methods=methods, context=Context(patch=4), **words)


def where_the_cell_is(model, images, methods):
    classes = torch.arange(4).remainder(3).expand(len(images), 4)
    words = {"measures": ["grid"], "context": Context(patch=4, batch_size=16)}
    localization.measure_grid(model, images, classes, 2, methods=methods, **words)


def randomised(model, images, methods):
    sanity.measure(
        model, images, LABELS, sanity.layers(model, images[:1] / 255), methods=methods, context=Context(patch=4)
    )


@pytest.mark.parametrize("explain", [where_the_truth_is, where_the_cell_is, randomised])
@pytest.mark.parametrize(("methods", "reads"), [(["occlusion"], True), (["feature_map", "grad_cam"], False)])
def test_maps_of_many_forward_passes_are_made_by_a_reader(explain, methods, reads, images, monkeypatch):
    seen = []
    forward = Reader.forward
    monkeypatch.setattr(Reader, "forward", lambda self, batch: seen.append(len(batch)) or forward(self, batch))
    explain(network(), images, methods)
    assert bool(seen) is reads
