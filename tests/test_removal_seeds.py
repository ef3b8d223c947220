"""Several trainings of one model in one removal benchmark: figures of each seed, their spread, intervals over both."""

import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from PIL import Image

from fa_repro import statistics
from fa_repro.checkpoint import load_checkpoint
from fa_repro.commands import benchmark_removal
from fa_repro.errors import InputError
from fa_repro.removal import Measured, pooled
from fa_repro.removal.figures import curves_figure
from fa_repro.removal.summary import summary_markdown
from fa_repro.removal.tables import tabulate
from fa_repro.statistics import Bootstrap
from fa_repro.subject import open_subject
from refusals import one_line

# ---------------------------------------------------------------------------------------- the bootstrap


def test_every_resample_is_drawn_trainings_times_drawn_images():
    values = np.random.default_rng(0).random((3, 4))  # 3 trainings, 4 images
    bootstrap = Bootstrap(4, 50, 7, trainings=3)
    trainings, images = bootstrap._trainings, bootstrap._images  # how often each is drawn
    assert set(trainings.sum(1)) == {3} and set(images.sum(1)) == {4}
    by_hand = np.einsum("bt,ti,bi->b", trainings / 3, values, images / 4)
    np.testing.assert_allclose(bootstrap._means(values.ravel()), by_hand, rtol=0, atol=1e-14)
    assert np.abs(bootstrap._means(values.T.ravel()) - by_hand).max() > 0.01  # image by image is another order
    medians = [
        np.median([values[t, i] for t, i in itertools.product(range(3), range(4)) for _ in range(ts[t] * is_[i])])
        for ts, is_ in zip(trainings, images, strict=True)
    ]
    median = bootstrap.median(values.ravel())
    assert median == pytest.approx((np.median(values), *np.quantile(medians, [0.025, 0.975])), abs=1e-14)


def test_resamples_do_not_hang_on_how_many_are_worked_out_at_once(monkeypatch):
    values = np.random.default_rng(0).random(3 * 20)

    def figures(block):
        monkeypatch.setattr(statistics, "BLOCK", block)
        bootstrap = Bootstrap(20, 50, 7, trainings=3)
        sizes = {len(weights) for weights in bootstrap._weights()}
        return sizes, np.array(
            [bootstrap.interval(values), bootstrap.median(values), bootstrap.ratio(values, values**2)]
        )

    (whole, at_once), (parts, in_parts) = figures(10_000), figures(7 * 60)
    assert whole == {50} and parts == {7, 1}
    np.testing.assert_allclose(in_parts, at_once, rtol=0, atol=1e-14)


def test_one_training_has_the_intervals_that_it_had():
    values = np.random.default_rng(1).random(30)
    shares = np.random.default_rng(5).multinomial(30, np.full(30, 1 / 30), size=200) / 30
    low, high = np.quantile(shares @ values, [0.025, 0.975])
    assert Bootstrap(30, 200, 5).interval(values)[1:] == pytest.approx((low, high), abs=1e-14)
    # Alike ten times over, trainings add nothing.
    assert Bootstrap(30, 200, 5, 10).interval(np.tile(values, 10)) == pytest.approx(
        (values.mean(), low, high), abs=1e-14
    )


def test_variances_of_trainings_and_of_images_add_up():
    n, t = 200, 40
    generator = np.random.default_rng(2)
    trainings, images = generator.normal(0, 0.5, t), generator.normal(0, 1, n)
    values = (trainings[:, None] + images).ravel()
    interval = Bootstrap(n, 4000, 0, t).interval(values)
    wide = 2 * 1.96 * np.sqrt(trainings.var() / t + images.var() / n)
    assert interval.high - interval.low == pytest.approx(wide, rel=0.08)
    # Images alone, or the t * n values as if each were another image's, have too narrow an interval.
    for alone in (Bootstrap(n, 4000, 0).interval(images), Bootstrap(n * t, 500, 0).interval(values)):
        assert alone.high - alone.low < 0.8 * wide


def test_differences_are_paired_by_training_and_image():
    hard = np.random.default_rng(3).normal(0, 1, (4, 50))
    bootstrap = Bootstrap(50, 500, 0, 4)
    assert bootstrap.interval((hard + 0.1 - hard).ravel()) == pytest.approx((0.1, 0.1, 0.1), abs=1e-12)
    assert bootstrap.ratio(2 * np.abs(hard).ravel(), np.abs(hard).ravel()) == pytest.approx((2, 2, 2), abs=1e-12)
    alone = bootstrap.interval(hard.ravel())
    assert alone.high - alone.low > 0.2


# ------------------------------------------------------------------------------------------- the tables

FRACTIONS = np.array([0.0, 0.5, 1.0])


def _measured(middle, **changed):
    """One method, two images whose probability at 50 % removed is ``middle``: (MoRF, LeRF) x images."""
    probability = np.ones((1, 2, 3, 2))
    probability[0, :, 1], probability[0, :, 2] = middle, 0.0
    prediction = np.zeros((1, 2, 3, 2), int)
    prediction[0, :, 2] = 1
    fields = {"imputation": "mean", "methods": ("grad_cam",), "orders": ("morf", "lerf"), "fractions": FRACTIONS}
    fields |= {"targets": np.zeros(2, int), "labels": np.array([0, 1]), "probability": probability}
    fields |= {"logit": probability, "prediction": prediction, "degenerate": np.array([[False, True]])}
    return Measured(**(fields | {"seconds": np.array([1.5])} | changed))


# LeRF - MoRF areas are half of the difference in the middle: 0.1 and 0.3; 0.2 and 0.2; 0.0 and 0.4 (reading across).
FOUND = [
    [_measured([[0.2, 0.2], [0.4, 0.8]])],
    [_measured([[0.2, 0.2], [0.6, 0.6]])],
    [_measured([[0.6, 0.2], [0.6, 1.0]])],
]


def test_tables_by_hand():
    tables = tabulate(FOUND, [4, 5, 9], 300, 0)
    (line,) = tables.differences.to_dict("records")
    assert line["lerf_minus_morf"] == pytest.approx(0.2, abs=1e-12) and line["seeds"] == 3 and line["n"] == 2
    assert line["lerf_minus_morf_sd"] == pytest.approx(0.0, abs=1e-12)
    assert 0.0 <= line["lerf_minus_morf_low"] < 0.2 < line["lerf_minus_morf_high"] <= 0.4
    apart = tables.by_seed["differences"]
    assert apart.seed.tolist() == [4, 5, 9] and apart.lerf_minus_morf.tolist() == pytest.approx([0.2, 0.2, 0.2])
    assert apart.lerf_minus_morf_high[1] - apart.lerf_minus_morf_low[1] < 1e-12 < apart.lerf_minus_morf_high[0] - 0.2
    # MoRF areas by seed: 0.35, 0.35 and 0.45.
    morf = tables.summary[tables.summary.order == "morf"].iloc[0]
    assert morf.auc_probability == pytest.approx(1.15 / 3)
    assert morf.auc_probability_sd == pytest.approx(np.std([0.35, 0.35, 0.45], ddof=1))
    assert morf.auc_probability_sd != pytest.approx(np.std([0.35, 0.35, 0.45]))
    assert (morf.n, morf.degenerate_maps, morf.seconds) == (2, 3, 4.5)
    middle = tables.curves[(tables.curves.order == "lerf") & (tables.curves.fraction == 0.5)].iloc[0]
    assert middle.target_probability == pytest.approx(4 / 6)
    assert middle.target_probability_sd == pytest.approx(np.std([0.6, 0.6, 0.8], ddof=1))
    assert [name for name, _ in tables.files()] == [
        f"{name}{of}.csv" for of in ("", "_by_seed") for name in ("curves", "summary", "differences")
    ]


def test_one_training_has_the_tables_that_it_had():
    tables = tabulate(FOUND[:1], [4], 300, 0)
    assert tables.by_seed == {}
    assert not {name for table in (tables.curves, tables.summary, tables.differences) for name in table} & {"seeds"}
    assert pooled(FOUND[0]) is FOUND[0][0]


def test_the_page_and_the_figure_show_each_seed():
    tables = tabulate(FOUND, [4, 5, 9], 100, 0)
    page = summary_markdown("T", "c", tables.summary, tables.differences, tables.shifts, [], tables.by_seed)
    assert "| `grad_cam` | 0.200 | 0.200 | 0.200 | 0.200 | 0.000 |" in page
    assert "| method | seed 4 | seed 5 | seed 9 | mean | sd over seeds |" in page
    assert "`grad_cam`: 3 of 6 maps are degenerate" in page and "over images and seeds" in page
    assert "18 % too narrow" in page  # 1 - sqrt(2 / 3)
    fig = curves_figure(tables.curves, "a title", tables.by_seed["curves"])
    assert [len(panel.lines) for panel in fig.axes] == [1 + 3, 1 + 3]
    thin = [line.get_ydata().tolist() for line in fig.axes[0].lines if line.get_linewidth() < 1]
    assert sorted(values[1] for values in thin) == pytest.approx([0.2, 0.2, 0.4])


def test_the_page_of_one_order_has_each_seeds_area():
    found = [[one._replace(orders=("morf",), probability=one.probability[:, :1], logit=one.logit[:, :1],
                           prediction=one.prediction[:, :1])] for (one,) in FOUND]  # fmt: skip
    tables = tabulate(found, [4, 5, 9], 100, 0)
    assert tables.differences is None and set(tables.by_seed) == {"curves", "summary"}
    page = summary_markdown("T", "c", tables.summary, None, None, [], tables.by_seed)
    assert "| `grad_cam` | morf | 0.350 | 0.350 | 0.450 | 0.383 | 0.058 |" in page


# ------------------------------------------------------------------------------------------ the command


@pytest.fixture
def words(tmp_path):
    words = ["n_images=6", "methods=[feature_map,random]", "fractions=[0,0.4,1]", "bootstrap=100", "device=cpu"]
    return ["benchmark-removal", *words, f"results={tmp_path}"]


@pytest.mark.slow
@pytest.mark.usefixtures("one_format")
def test_three_seeds_in_one_run(cli, words, untrained, tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark_removal, "draw_examples", lambda *_, **__: Figure(figsize=(1, 1)))
    paths = [str(untrained(f"seed{seed}", seed)) for seed in (11, 2, 5)]
    code, out, err = cli(*words, f"checkpoint=[{','.join(paths)}]")
    assert code == 0, err
    path = tmp_path / "benchmark-removal" / "shapes-fa_cnn-seeds2-5-11"
    page = (path / "summary.md").read_text()
    assert "with the seeds 2, 5 and 11 (50 % of" in page and "(standard deviation over seeds" in page
    identity = (path / ".identity.json").read_text()
    assert all(f"checkpoint[{i}]" in identity for i in range(3))
    code, out, _ = cli(*words, f"checkpoint=[{','.join(sorted(paths))}]")
    assert code == 0 and "already finished" in out  # in any order
    lines = pd.read_csv(path / "per_image.csv.gz")
    assert lines.groupby("seed").size().to_dict() == dict.fromkeys((2, 5, 11), 3 * 2 * 3 * 6)  # a control is added

    # Each seed's figures are those of a run of its own, and the mean over seeds is theirs.
    monkeypatch.setattr(benchmark_removal, "curves_figure", lambda *_: Figure(figsize=(1, 1)))
    alone = {}
    for seed, checkpoint in zip((11, 2, 5), paths, strict=True):
        assert cli(*words, f"checkpoint=[{checkpoint}]").code == 0
        alone[seed] = pd.read_csv(tmp_path / "benchmark-removal" / f"shapes-fa_cnn-seed{seed}" / "differences.csv")
    apart, together = (pd.read_csv(path / f"{name}.csv") for name in ("differences_by_seed", "differences"))
    for seed, table in alone.items():
        pd.testing.assert_frame_equal(apart[apart.seed == seed].drop(columns="seed").reset_index(drop=True), table)
        assert "seeds" not in table
    for _, line in together.iterrows():
        values = [t.set_index("method").lerf_minus_morf[line.method] for t in alone.values()]
        assert line.lerf_minus_morf == pytest.approx(np.mean(values), abs=1e-5)
        assert line.lerf_minus_morf_sd == pytest.approx(np.std(values, ddof=1), abs=1e-5) and np.std(values) > 1e-4
    with Image.open(path / "curves.png") as image:
        assert np.asarray(image.convert("L")).std() > 5
    code, out, _ = cli(*words, f"checkpoint={paths[1]}")
    assert code == 0 and "already finished" in out  # a path or a list of it: the same run


def _config(*paths):
    data = {"name": "from_checkpoint", "download": False, "mirror": True}
    cfg = {"checkpoint": [str(path) for path in paths], "model": {"name": "from_checkpoint"}, "data": data}
    return OmegaConf.create(cfg | {"name": None, "seed": 0})


def test_checkpoints_that_are_no_seeds_of_one_model_are_refused(untrained, tmp_path):
    first = untrained("first", 0)
    data = load_checkpoint(first).data
    wide = {"name": "resnet_small", "widths": [8], "blocks": [1]}
    trainer = {"epochs": 2, "augment": {"crop": 0, "flip": True, "cutout": 0, "removal": 0.5}}
    for other, needle in (
        (untrained("again", 0), "the same seed 0"),
        (untrained("wide", 1, model=wide), "model."),
        (untrained("longer", 1, trainer=trainer), "trainer.epochs: 1 and 2"),
        (untrained("more", 1, data=data | {"n_train": 21}), "data.n_train: 20 and 21"),
        (untrained("others", 1, classes=[f"other{i}" for i in range(10)]), "classes"),
    ):
        with pytest.raises(InputError) as refused:
            open_subject(_config(first, other), "benchmark-removal")
        text = str(refused.value)
        assert needle in text and str(first) in text and str(other) in text and "\n" not in text
    with pytest.raises(InputError, match=r"none\.pt: no such file"):
        open_subject(_config(first, tmp_path / "none.pt"), "benchmark-removal")
    # A key that came later says what was done before it, and compiled steps are the same.
    early = load_checkpoint(first).trainer
    late = early | {"compile": "always", "augment": {"cutout": 0, **early.get("augment", {})}}
    early = early | {"augment": {k: v for k, v in late["augment"].items() if k != "cutout"}}
    pair = _config(untrained("early", 0, trainer=early), untrained("late", 1, trainer=late))
    assert [t.seed for t in open_subject(pair, "benchmark-removal").trainings] == [0, 1]
    cut = untrained("cut", 1, trainer=late | {"augment": late["augment"] | {"cutout": 4}})
    with pytest.raises(InputError, match=r"trainer\.augment"):
        open_subject(_config(untrained("early", 0, trainer=early), cut), "benchmark-removal")
    # Where the data lies may differ, and the order of the words does not matter.
    moved = untrained("moved", 1, data=data | {"cache": str(tmp_path)})
    one, other = (_config(first, moved), _config(moved, first))
    assert [t.seed for t in open_subject(one, "benchmark-removal").trainings] == [0, 1]
    assert open_subject(other, "benchmark-removal").inputs == open_subject(one, "benchmark-removal").inputs
    assert one == other


def test_what_was_held_out_is_one_trainings(untrained):
    first, second = untrained("first", 0), untrained("second", 1)
    for paths, said in (((first, second), "Give one checkpoint"), ((first,), "held no images out")):
        with pytest.raises(InputError, match=rf"split=val: .*{said}"):
            open_subject(_config(*paths), "benchmark-removal", split="val")


def test_other_commands_take_one_checkpoint(cli, untrained, tmp_path):
    first = untrained("first", 0)
    for command in ("benchmark-sanity", "benchmark-localization", "benchmark-speed", "verify-gradcam"):
        assert "checkpoint" in one_line(cli(command, f"checkpoint=[{first},{first}]", f"results={tmp_path}"))
