"""``fa-repro benchmark-speed`` as a command."""

from importlib.util import find_spec

import pandas as pd
import pytest

from fa_repro.speed import explanation, removal

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
