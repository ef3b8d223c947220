"""Sweeps: a job for each value, its run's name, and what one job's end means for the others."""

import os
import signal
import sys

import pytest

from commands import finish
from fa_repro.errors import InputError
from fa_repro.rundir import RunDir, default_name


@pytest.mark.parametrize("words", [("seed=1", "-m"), ("--multirun", "seed=1")])
def test_a_sweep_runs_each_value_wherever_the_flag_stands(cli, handler, workplace, words):
    code, out, err = cli("train", *words, "model=fa_cnn,resnet_small")
    assert (code, err) == (0, "")
    assert [(job.seed, job.model.name) for job in handler.jobs] == [(1, "fa_cnn"), (1, "resnet_small")]
    assert out.splitlines() == ["job 0: done", "job 1: done"]


@pytest.mark.parametrize("swept", ["seed=0,1", "model.blocks=[1,1],[11]"])
def test_a_sweep_makes_a_run_directory_for_each_job(cli, handler, workplace, swept):
    handler.act = finish
    code, _, err = cli("train", "-m", swept)
    assert (code, err) == (0, "")
    assert len(list(workplace.glob("results/train/*/DONE.json"))) == 2
    # The same sweep again: each job finds its own directory, and nothing is run twice.
    before = {path: path.stat().st_mtime_ns for path in workplace.glob("results/train/*/.identity.json")}
    handler.act = lambda cfg: 0 if RunDir(cfg, "train", cfg.name or default_name(cfg)).finished else 5
    assert cli("train", "-m", swept).code == 0
    assert before == {path: path.stat().st_mtime_ns for path in workplace.glob("results/train/*/.identity.json")}


def test_a_sweep_names_its_runs_after_what_was_swept_alone(cli, handler, workplace):
    long = "/".join(["a-long-folder-name"] * 15)
    handler.act = finish
    code, _, err = cli("train", f"data.root={long}", "-m", "trainer.lr=0.1,0.2")
    assert (code, err) == (0, "")
    names = sorted(path.name for path in workplace.glob("results/train/*"))
    assert names == ["shapes-fa_cnn-seed0-trainer.lr_0.1", "shapes-fa_cnn-seed0-trainer.lr_0.2"]


def test_a_sweep_that_a_config_holds_names_its_runs_too(cli, handler, workplace):
    folder = workplace / "mine" / "experiment"
    folder.mkdir(parents=True)
    sweep = "# @package _global_\nhydra:\n  sweeper:\n    params:\n      trainer.lr: 0.1,0.2\n"
    (folder / "rates.yaml").write_text(sweep)
    handler.act = finish
    code, _, err = cli("train", "-m", "--config-dir", str(workplace / "mine"), "experiment=rates")
    assert (code, err) == (0, "")
    names = sorted(path.name for path in workplace.glob("results/train/*"))
    assert names == ["shapes-fa_cnn-seed0-trainer.lr_0.1", "shapes-fa_cnn-seed0-trainer.lr_0.2"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["checkpoint=a/fa_cnn/checkpoint.pt", "seed=0,1"], ["fa_cnn-seed_0", "fa_cnn-seed_1"]),
        (["checkpoint=[a/x/c.pt,a/y/c.pt]", "n_images=5,6"], ["x-y-n_images_5", "x-y-n_images_6"]),
        (
            ["checkpoint=a/x/c.pt", "data=mnist,svhn", "seed=1,2"],
            [f"x-data_{data}-seed_{seed}" for data in ("mnist", "svhn") for seed in (1, 2)],
        ),
        (["checkpoint=a/x/c.pt", "data=mnist,svhn"], [None, None]),  # the default name has the data
        (["checkpoint=a/x/c.pt,b/x/c.pt"], ["checkpoint_a_x_c.pt", "checkpoint_b_x_c.pt"]),
    ],
)
def test_a_sweep_over_a_checkpoint_names_its_runs_after_it(cli, handler, workplace, monkeypatch, words, named):
    seen: list[str] = []
    handler.act = lambda cfg: seen.append(cfg.name) or 0
    monkeypatch.setitem(sys.modules, "fa_repro.commands.benchmark_removal", sys.modules["fa_repro.commands.train"])
    assert cli("benchmark-removal", "-m", *words).code == 0
    assert seen == named


def test_a_report_of_several_folders_needs_no_name(cli, handler, workplace, monkeypatch):
    monkeypatch.setitem(sys.modules, "fa_repro.commands.report", sys.modules["fa_repro.commands.train"])
    assert cli("report", "-m", "results=a,b").code == 0
    assert [cfg.results for cfg in handler.jobs] == ["a", "b"]


def test_two_jobs_of_a_sweep_under_one_name_are_refused(cli, handler, workplace):
    handler.act = finish
    code, out, err = cli("train", "name=same", "-m", "trainer.lr=0.1,0.2")
    assert code == 2
    assert out.splitlines() == ["job 0: done", "job 1: exit 2"]
    assert "name=OTHER" in err


def test_a_launcher_that_is_not_installed_is_refused(cli, handler, workplace):
    code, out, err = cli("train", "-m", "hydra/launcher=cluster", "seed=0,1")
    assert (code, out, handler.jobs) == (2, "", [])
    assert err.count("\n") == 1 and "fa-repro[cluster]" in err


# Jobs that end otherwise


def refuse_seed_0(cfg) -> int:
    if cfg.seed == 0:
        raise InputError("seed 0 has no images.")
    return 0


def test_a_failure_in_another_process_comes_home_as_an_exception(cli, handler, workplace, monkeypatch):
    monkeypatch.setattr("fa_repro.cli._at_home", lambda: False)
    handler.act = refuse_seed_0
    code, _, err = cli("train", "-m", "seed=0,1")
    assert code == 2
    assert err.splitlines()[0] == "fa-repro: seed 0 has no images."
    assert "exit code 2" in err.splitlines()[-1]


def test_the_answer_no_comes_home_from_another_process(cli, handler, workplace, monkeypatch):
    monkeypatch.setattr("fa_repro.cli._at_home", lambda: False)
    handler.act = lambda cfg: 1
    code, _, err = cli("train", "-m", "seed=0,1")
    assert code == 1 and "Traceback" not in err


def test_a_bad_config_in_a_sweep_costs_its_own_job_alone(cli, handler, workplace):
    code, out, err = cli("train", "-m", "model.alpha=2,0.5")
    assert code == 2
    assert [job.model.alpha for job in handler.jobs] == [0.5]
    assert out.splitlines() == ["job 0: exit 2", "job 1: done"]
    assert len(err.splitlines()) == 1 and "model.alpha=2.0" in err


def test_a_job_of_a_sweep_that_cannot_go_on_costs_no_other(cli, handler, workplace):
    handler.act = refuse_seed_0
    code, out, err = cli("train", "-m", "seed=0,1")
    assert code == 2
    assert len(handler.jobs) == 2
    assert out.splitlines() == ["job 0: exit 2", "job 1: done"]
    assert err == "fa-repro: seed 0 has no images.\n"


def test_a_job_of_a_sweep_that_answers_no_shows_in_the_exit_code(cli, handler, workplace):
    handler.act = lambda cfg: 1 if cfg.seed == 1 else 0
    code, out, err = cli("train", "-m", "seed=1,2")
    assert (code, err) == (1, "")
    assert out.splitlines() == ["job 0: exit 1", "job 1: done"]


@pytest.mark.parametrize("swept", ["seed=1,abc", "model=fa_cnn,fa_cn"])
def test_a_sweep_over_what_cannot_be_composed_starts_no_job(cli, handler, workplace, swept):
    code, out, err = cli("train", "-m", swept)
    assert (code, out, handler.jobs) == (2, "", [])
    assert len(err.splitlines()) == 1 and err.startswith("fa-repro: ")


def interrupt(cfg) -> int:
    raise KeyboardInterrupt


def terminate(cfg) -> int:
    os.kill(os.getpid(), signal.SIGTERM)
    return 0


@pytest.mark.parametrize(
    ("act", "code", "words"),
    [(interrupt, 130, ("-m", "seed=0,1")), (terminate, 143, ("-m", "seed=0,1")), (terminate, 143, ())],
)
def test_a_stopped_run_says_so_and_stops_a_sweep(cli, handler, workplace, act, code, words):
    handler.act = act
    answer = cli("train", *words)
    assert answer == (code, "", "fa-repro: stopped; the same words go on from here.\n")
    assert len(handler.jobs) == 1
