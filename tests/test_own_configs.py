"""A user's own configs: found, combined with words, and refused where they are wrong."""

import pytest

from refusals import assert_refused


@pytest.fixture
def own_configs(tmp_path):
    folder = tmp_path / "own"
    for name, text in {
        "experiment/mine.yaml": (
            "# @package _global_\ndefaults:\n  - override /model: resnet_small\ntrainer:\n  epochs: 3\n"
        ),
        "trainer/quick.yaml": "defaults:\n  - default\nepochs: 1\nlr: 0.01\n",
        "experiment/wrong.yaml": "# @package _global_\ntrainer:\n  epoch: 3\n",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_config_dir_adds_files_of_the_users_own(cli, handler, workplace, own_configs):
    assert cli("train", "--config-dir", str(own_configs), "experiment=mine") == (0, "", "")
    assert cli("train", "trainer=quick", "-cd", str(own_configs)) == (0, "", "")
    first, second = handler.jobs
    assert (first.trainer.epochs, first.model.name, first.trainer.lr) == (3, "resnet_small", 0.002)
    assert (second.trainer.epochs, second.model.name, second.trainer.lr) == (1, "fa_cnn", 0.01)


def test_config_dir_may_be_relative_and_joined(cli, handler, workplace, own_configs):
    assert cli("train", "--config-dir=../own", "experiment=mine") == (0, "", "")
    assert handler.jobs[0].trainer.epochs == 3


def test_words_win_over_an_experiment(cli, handler, workplace, own_configs):
    assert cli("train", "--config-dir", str(own_configs), "experiment=mine", "trainer.epochs=5").code == 0
    assert handler.jobs[0].trainer.epochs == 5


def test_without_config_dir_the_users_own_files_are_unknown(cli, handler, workplace, own_configs):
    assert "experiment=mine" in assert_refused(cli("train", "experiment=mine"), workplace)
    assert "default" in assert_refused(cli("train", "trainer=quick"), workplace)


def test_mistakes_in_the_users_own_files_are_refused_in_one_line(cli, handler, workplace, own_configs):
    flags = ("train", "--config-dir", str(own_configs))
    assert "Did you mean mine?" in assert_refused(cli(*flags, "experiment=mien"), workplace)
    assert "epoch" in assert_refused(cli(*flags, "experiment=wrong"), workplace)
    assert "missing" in assert_refused(cli("train", "--config-dir", "missing", "experiment=mine"), workplace)
    assert handler.jobs == []
