"""Throughput: the arithmetic by hand, every contender's work, the command."""

import itertools
import sys
import types
from collections import Counter
from importlib.util import find_spec

import pandas as pd
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
from fa_repro.speed import (
    Comparison,
    Contender,
    contention,
    explanation,
    interleave,
    rate_table,
    ratio_table,
    removal,
    training,
)
from fa_repro.speed.figures import rates_figure
from fa_repro.speed.summary import summary_markdown
from fa_repro.training import trainer
from tiny import FA_CNN

CPU = torch.device("cpu")
TASK = Task(3, 3, 8, [0.5, 0.4, 0.3], [0.2, 0.2, 0.2])
FA = FA_CNN
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


def test_contenders_run_in_turns_and_the_first_round_is_not_measured():
    ran, clock = [], itertools.count(0.0, 0.5)  # every run takes half a second

    def contender(name: str, images: int) -> Contender:
        return Contender(name, lambda: ran.append(name) or images)

    told = []
    rates = interleave([contender("x", 10), contender("y", 30)], 2, CPU, told.append, lambda: next(clock))
    assert ran == told == ["x", "y", "y", "x", "x", "y"]
    # Runs of the first round read the clock once, at their start; the measured ones twice: 10 and 30 images in 0.5 s.
    assert rates.to_dict("list") == {"x": [20.0, 20.0], "y": [60.0, 60.0]}


def test_tables_by_hand():
    rates = pd.DataFrame({"x": [10.0, 20.0, 60.0], "y": [10.0, 40.0, 20.0]})
    speeds = rate_table(rates)
    assert speeds.to_dict("list") == {
        "contender": ["x", "y"],
        "images_per_second": [20.0, 20.0],
        "low": [10.0, 10.0],
        "high": [60.0, 40.0],
        "rounds": [3, 3],
    }
    comparisons = [
        Comparison("kept", "x", "y", ">=", 1.0),
        Comparison("broken", "x", "y", ">=", 1.01),
        Comparison("kept from below", "x", "y", "<=", 1.0),
        Comparison("broken from below", "x", "y", "<=", 0.99),
        Comparison("alone", "x", "y"),
        Comparison("absent", "x", "z", ">=", 1.0),
    ]
    ratios = ratio_table(rates, comparisons)
    # Round by round 1, 0.5 and 3: the median is taken of the ratios, not the ratio of the medians' rounds.
    assert ratios.ratio.tolist() == [1.0] * 5
    assert ratios.low.tolist() == [0.5] * 5
    assert ratios.high.tolist() == [3.0] * 5
    assert ratios.met.tolist() == [True, False, True, False, None]
    assert "absent" not in ratios.comparison.tolist()


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


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
def test_prediction_and_map_from_one_pass_are_those_of_two(upsampling):
    model = trained(FA)
    images = image_set(5).images.float() / 255
    with torch.inference_mode():
        logits = model(images)
    context = Context(upsampling=upsampling)
    for joint, method in ((predict_with_feature_map, feature_map), (predict_with_depth_map, depth_map)):
        explained = joint(model, images, upsampling)
        assert torch.allclose(explained.logits, logits, rtol=1e-5, atol=1e-6)
        expected = method(model, images, logits.argmax(1).clone(), context)
        assert torch.allclose(explained.maps, expected, rtol=1e-5, atol=1e-6)
        others = method(model, images, (logits.argmax(1) + 1) % 3, context)
        assert not torch.allclose(explained.maps, others, rtol=1e-3)


def test_waiting_is_counted_in_measured_runs_that_are_not_crowded_by_their_own(monkeypatch):
    # By the nanosecond: the process has one thread that runs 90 and waits 10 each time that it is looked at.
    looks = itertools.count(1)
    monkeypatch.setattr(contention, "_threads", lambda: {"1": (90 * next(looks), 10 * next(looks))})
    watch = contention.Contention()
    assert watch.share is None  # of nothing
    crowded = Contender("own workers", lambda: 1, crowded=True)
    interleave([Contender("alone", lambda: 1), crowded], 3, CPU, contention=watch)
    assert watch.share == pytest.approx(0.1)
    assert next(looks) == 1 + 2 * 2 * 3  # at both ends of three runs of one of the two
    monkeypatch.setattr(contention, "_threads", lambda: None)
    with watch:
        pass
    assert watch.share is None


def test_running_and_waiting_are_the_first_two_figures_of_every_thread(monkeypatch, tmp_path):
    monkeypatch.setattr(contention, "TASKS", tmp_path / "task")
    assert contention._threads() is None  # as on another system
    (tmp_path / "task" / "13").mkdir(parents=True)  # a thread that has ended
    assert contention._threads() is None
    for thread, figures in (("11", "90 10 5\n"), ("12", "7 3 1\n")):
        (tmp_path / "task" / thread).mkdir()
        (tmp_path / "task" / thread / "schedstat").write_text(figures)
    assert contention._threads() == {"11": (90, 10), "12": (7, 3)}


@pytest.mark.parametrize("rates", [[300.0, 1000.0], [1.2, 3457.0], [520.0, 530.0]])
def test_the_pictures_axis_is_labelled_in_plain_numbers(rates):
    table = pd.DataFrame({"contender": ["x", "y"], "images_per_second": rates, "low": rates, "high": rates})
    fig = rates_figure(table, "title")
    fig.canvas.draw()
    (axes,) = fig.axes
    labels = [label.get_text() for label in axes.get_xticklabels(which="both")]
    assert any(labels) and not any("$" in label for label in labels)


@pytest.mark.parametrize(
    ("share", "said", "verdicts"),
    [
        (0.3, "Nothing can be concluded", ["nothing can be concluded"] * 2 + ["–"]),
        (0.01, "the machine was its own", ["kept", "NOT kept", "–"]),
        (None, "not known", ["kept", "NOT kept", "–"]),
    ],
)
def test_a_busy_machine_gives_no_verdict(share, said, verdicts):
    rates = pd.DataFrame({"x": [10.0, 20.0], "y": [10.0, 20.0]})
    comparisons = [Comparison("one", "x", "y", ">=", 1.0), Comparison("two", "x", "y", ">=", 2.0)]
    ratios = ratio_table(rates, [*comparisons, Comparison("three", "x", "y")])
    page = summary_markdown("Speed", "conditions", rate_table(rates), ratios, [], share)
    assert said in page
    for words, verdict in zip(("one | >= 1", "two | >= 2", "three | –"), verdicts, strict=True):
        assert f"| {words} | 1.00 [1.00, 1.00] | {verdict} |" in page


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


TINY_RUN = ("n_images=16", "rounds=1", "workers=0", "trainer.batch_size=8", "device=cpu")


def test_training_speed_from_fresh_weights(cli, tiny, tmp_path):
    words = [w for w in tiny if not w.startswith("trainer.")]
    answer = cli("benchmark-speed", "data=shapes", "model=fa_cnn", *words, *TINY_RUN, f"results={tmp_path}", "name=t")
    assert answer.code == 0, answer.err
    folder = tmp_path / "benchmark-speed" / "t"
    ratios = pd.read_csv(folder / "ratios.csv")
    assert ratios.above.tolist() == ["fa-repro train"] * 2
    assert ratios.below.tolist() == ["bare step", "usual loop"]
    assert ratios.sense.tolist() == [">=", ">="] and ratios.limit.tolist() == [0.95, 2.0]
    rounds = pd.read_csv(folder / "rounds.csv")
    assert len(rounds) == 1
    assert ratios.ratio[0] == pytest.approx(rounds["fa-repro train"][0] / rounds["bare step"][0], rel=1e-4)
    assert (folder / "speed.png").read_bytes().startswith(b"\x89PNG")
    assert "usual loop" in (folder / "summary.md").read_text() and "usual loop" in answer.out
    again = cli("benchmark-speed", "data=shapes", "model=fa_cnn", *words, *TINY_RUN, f"results={tmp_path}", "name=t")
    assert again.code == 0 and "already finished" in again.out


def test_explanation_speed_of_a_checkpoint(cli, trained, tmp_path):
    words = ("what=explanation", f"checkpoint={trained / 'checkpoint.pt'}")
    answer = cli("benchmark-speed", *words, *TINY_RUN, f"results={tmp_path}", "name=e")
    assert answer.code == 0, answer.err
    folder = tmp_path / "benchmark-speed" / "e"
    speeds, ratios, rounds = (pd.read_csv(folder / f"{name}.csv") for name in ("speed", "ratios", "rounds"))
    named = {name for comparison in explanation.COMPARISONS for name in (comparison.above, comparison.below)}
    libraries = {"captum": "captum", "pytorch_grad_cam": "pytorch-grad-cam"}
    absent = tuple(words for module, words in libraries.items() if not find_spec(module))
    assert {name for name in named if not name.startswith(absent)} == set(speeds.contender)
    assert (speeds.low <= speeds.images_per_second).all() and (speeds.images_per_second > 0).all()
    assert ratios[["above", "below", "sense", "limit"]].to_numpy().tolist()[:2] == [
        ["prediction", "prediction + feature_map", "<=", 1.05],
        ["prediction", "prediction + depth_map", "<=", 1.15],
    ]
    for line in ratios.itertuples():
        assert line.ratio == pytest.approx(rounds[line.above][0] / rounds[line.below][0], rel=1e-4)


def test_removal_speed_of_a_checkpoint(cli, trained, tmp_path, monkeypatch):
    monkeypatch.setattr(removal, "SIDES", {32: (2, 1)})
    words = ("what=removal", f"checkpoint={trained / 'checkpoint.pt'}", "n_removed=4", "n_patched=2", "repeats=1")
    answer = cli("benchmark-speed", *words, *TINY_RUN, f"results={tmp_path}", "name=r")
    assert answer.code == 0, answer.err
    ratios = pd.read_csv(tmp_path / "benchmark-speed" / "r" / "ratios.csv")
    assert ratios.limit[:3].tolist() == [1.2, 0.8, 0.8]
    assert ratios.below[:3].tolist() == ["plain forward pass"] * 3
    page = (tmp_path / "benchmark-speed" / "r" / "summary.md").read_text()
    assert "| ratio of images/s | limit | measured: median [range] | verdict |" in page
    assert "| removal to the mean colour, of the plain forward pass | >= 1.2 |" in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("what=removal", "n_removed=0"), "n_removed=0: must be 1 or more"),
        (("what=nothing",), "what=nothing: must be one of training"),
        ((), "needs checkpoint=PATH, or model=NAME and data=NAME"),
        (("checkpoint=absent.pt",), "absent.pt: no such file"),
        (("checkpoint=absent.pt", "model=fa_cnn"), "contradict"),
        (("rounds=0",), "rounds=0: must be 1 or more"),
        (
            ("what=removal", "data=shapes", "data.n_test=20", "model=fa_cnn", "n_removed=1"),
            "n_removed: permutation needs two images",
        ),
        (
            ("what=removal", "data=shapes", "data.n_test=20", "model=fa_cnn", "patch=33"),
            "patch=33: larger than the images, which are 32 pixels a side",
        ),
        (("data=shapes", "model=fa_cnn", "trainer.augment.crop=40", "data.n_train=200"), "trainer.augment.crop=40"),
    ],
)
def test_bad_words_cost_a_line(cli, tmp_path, cache, words, message):
    answer = cli("benchmark-speed", *words, cache, "device=cpu", f"results={tmp_path}")
    assert answer.code == 2
    assert message in answer.err
    assert len(answer.err.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
