"""The command line: what it answers, what it refuses, and with which exit code."""

import os
import re
import signal
import subprocess
import sys
import types
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

import fa_repro
from fa_repro.errors import InputError, did_you_mean
from fa_repro.rundir import RunDir, default_name

SUBCOMMANDS = (
    "train",
    "verify-gradcam",
    "benchmark-removal",
    "benchmark-sanity",
    "benchmark-localization",
    "benchmark-speed",
    "report",
)


class Handler:
    """Stands in for ``fa_repro.commands.train``: notes the config of each job, then does what `act` says."""

    def __init__(self) -> None:
        self.jobs: list[Any] = []
        self.act: Any = lambda cfg: 0

    def run(self, cfg: Any) -> int:
        self.jobs.append(OmegaConf.create(OmegaConf.to_container(cfg, resolve=True)))
        return self.act(cfg)


@pytest.fixture
def handler(monkeypatch):
    stand_in = Handler()
    module = types.ModuleType("fa_repro.commands.train")
    module.run = stand_in.run
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return stand_in


def finish(cfg) -> int:
    RunDir(cfg, "train", cfg.name or default_name(cfg)).finish("cpu")
    return 0


def refuse_seed_0(cfg) -> int:
    if cfg.seed == 0:
        raise InputError("seed 0 has no images.")
    return 0


def assert_refused(answer, folder: Path) -> str:
    assert answer.code == 2
    assert answer.out == ""
    lines = answer.err.splitlines()
    assert len(lines) == 1, answer.err
    assert lines[0].startswith("fa-repro: ")
    assert "Traceback" not in answer.err
    assert list(folder.iterdir()) == []
    return lines[0].removeprefix("fa-repro: ")


def imported(importtime: str) -> set[str]:
    lines = [line for line in importtime.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip() for line in lines}


@pytest.mark.parametrize("words", [(), ("-h",), ("--help",), ("help",)])
def test_usage_has_a_line_for_each_subcommand(cli, words):
    code, out, err = cli(*words)
    assert (code, err) == (0, "")
    for name in SUBCOMMANDS:
        assert re.search(rf"^  {name} +\w", out, re.MULTILINE)
    assert not re.search(r"^  no-such +\w", out, re.MULTILINE)


@pytest.mark.parametrize("words", [(), ("-h",), ("--version",)])
def test_usage_and_version_import_neither_torch_nor_hydra(program, words, tmp_path):
    code, out, err = program(*words, python=("-X", "importtime", "-m", "fa_repro"), cwd=tmp_path)
    assert code == 0 and out
    found = imported(err)
    assert "fa_repro.cli" in found
    assert not found & {"torch", "hydra", "omegaconf", "numpy", "pandas", "matplotlib"}


@pytest.mark.slow
def test_cfg_job_imports_hydra_but_not_torch(program, tmp_path):
    words = ("train", "--cfg", "job", "seed=7")
    code, out, err = program(*words, python=("-X", "importtime", "-m", "fa_repro"), cwd=tmp_path)
    assert code == 0
    assert yaml.safe_load(out)["seed"] == 7
    found = imported(err)
    assert "hydra" in found
    assert not found & {"torch", "torchvision", "pandas", "matplotlib"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [("--version",), ("train", "--version"), ("report", "seed=1", "--version")])
def test_version_is_our_own(cli, words):
    assert cli(*words) == (0, f"fa-repro {fa_repro.__version__}\n", "")
    assert fa_repro.__version__ == version("fa-repro") != version("hydra-core")


@pytest.mark.parametrize(("command", "flag"), [*((name, "--help") for name in SUBCOMMANDS), ("train", "-h")])
def test_each_subcommand_has_help_with_its_keys(cli, workplace, command, flag):
    code, out, err = cli(command, flag)
    assert (code, err) == (0, "")
    assert "results: results" in out
    assert bool(re.search("^trainer:$", out, re.MULTILINE)) == (command in ("train", "benchmark-speed"))
    assert bool(re.search("^checkpoint: null$", out, re.MULTILINE)) == (command not in ("train", "report"))
    assert list(workplace.iterdir()) == []


def test_help_lists_the_choices(cli):
    out = cli("train", "--help").out
    models = re.search(r"^model: (.+)$", out, re.MULTILINE)
    assert models and {"fa_cnn", "fa_cnn_plain", "resnet18", "resnet_small"} <= set(models[1].split(", "))
    assert "cifar10" not in models[1]
    assert re.search(r"^data: .*\bcifar10\b", out, re.MULTILINE)


@pytest.mark.parametrize("words", [("--cfg", "job"), ("--cfg=job",)])
def test_cfg_job_prints_the_composed_config_and_runs_nothing(cli, handler, workplace, words):
    code, out, err = cli("train", "trainer.lr=0.5", *words, "model=resnet_small", "seed=3")
    assert (code, err) == (0, "")
    config = yaml.safe_load(out)
    assert (config["seed"], config["trainer"]["lr"], config["trainer"]["epochs"]) == (3, 0.5, 10)
    assert config["model"] == {"name": "resnet_small", "widths": [32, 64, 128], "blocks": [1, 1, 1]}
    assert "hydra" not in config
    assert handler.jobs == [] and list(workplace.iterdir()) == []


def test_resolve_fills_in_references(cli):
    words = ("train", "--cfg", "job", "data=mnist")
    assert yaml.safe_load(cli(*words).out)["trainer"]["augment"]["flip"] == "${data.mirror}"
    assert yaml.safe_load(cli(*words, "--resolve").out)["trainer"]["augment"]["flip"] is False


def test_package_flag_prints_a_part(cli):
    assert yaml.safe_load(cli("train", "--cfg", "job", "-p", "trainer.augment", "data=mnist").out)["crop"] == 4


def test_words_reach_the_handler(cli, handler, workplace):
    assert cli("train", "seed=3", "model.alpha=0.25", "model.blocks=[1,2,1]", "data=mnist").code == 0
    (job,) = handler.jobs
    assert (job.seed, job.model.alpha, list(job.model.blocks), job.data.name) == (3, 0.25, [1, 2, 1], "mnist")
    assert job.name is None and job.trainer.augment.flip is False


@pytest.mark.parametrize("code", [1, 7])
def test_exit_code_of_the_handler_is_ours(cli, handler, workplace, code):
    handler.act = lambda cfg: code
    assert cli("train").code == code


# A program whose `train` waits for as long as the seed says and answers with it.
STAND_IN = """
import sys, time, types
handler = types.ModuleType("fa_repro.commands.train")
def run(cfg):
    print("running", flush=True)
    time.sleep(cfg.seed)
    return cfg.seed
handler.run = run
sys.modules[handler.__name__] = handler
from fa_repro.cli import main
main()
"""


@pytest.mark.slow
def test_exit_code_of_the_handler_reaches_the_shell(program, tmp_path):
    for code in (0, 1):
        assert program("train", f"seed={code}", python=("-c", STAND_IN), cwd=tmp_path) == (code, "running\n", "")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_program_with_its_exit_code(tmp_path, number, code):
    process = subprocess.Popen(
        [sys.executable, "-c", STAND_IN, "train", "seed=300"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where a shell runs the tests in the background, a child would be born deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout.readline() == "running\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (code, "")
    assert err == "fa-repro: stopped; the same words go on from here.\n"


@pytest.mark.slow
def test_program_refuses_in_one_line(program, tmp_path):
    assert "Did you mean seed?" in assert_refused(program("train", "sed=3", cwd=tmp_path), tmp_path)
    assert "Did you mean train?" in assert_refused(program("trian", cwd=tmp_path), tmp_path)


def test_installed_script_is_the_same_program():
    script = Path(sys.executable).parent / "fa-repro"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, f"fa-repro {fa_repro.__version__}\n")


@pytest.mark.parametrize("words", [("-h",), ("--version",)])
def test_a_reader_that_has_gone_is_no_error(words):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "fa_repro", *words], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60
        )
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("trian",), "Did you mean train?"),
        (("verify_gradcam",), "Did you mean verify-gradcam?"),
        (("benchmark-removals",), "Did you mean benchmark-removal?"),
        (("seed=3",), "'seed=3' is no subcommand."),
        (("train", "sed=3"), "Did you mean seed?"),
        (("train", "modle=fa_cnn"), "Did you mean model?"),
        (("train", "trainer.epoch=1"), "Did you mean trainer.epochs?"),
        (("train", "model=fa_cn"), "Did you mean fa_cnn?"),
        (("train", "data=cifar"), "Did you mean cifar10"),
        (("verify-gradcam", "scor=logit"), "Did you mean score?"),
        (("benchmark-removal", "method=[random]"), "Did you mean methods?"),
        (("train", "optimizer=sgd"), "Did you mean trainer.optimizer?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_mistyped_words_get_a_hint(cli, handler, workplace, words, hint):
    assert hint in assert_refused(cli(*words), workplace)
    assert handler.jobs == []


def test_a_word_like_nothing_known_gets_no_hint(cli, workplace):
    assert "Did you mean" not in assert_refused(cli("train", "zzzz=1"), workplace)
    assert "Did you mean" not in assert_refused(cli("zzzz"), workplace)
    assert did_you_mean("zzzz", ["seed"]) == "" and did_you_mean("sed", ["seed"]) == " Did you mean seed?"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--seed", "3"), "seed=3"),
        (("--seed=3",), "seed=3"),
        (("-seed", "3"), "seed=3"),
        (("--batch-size", "5"), "batch_size=5"),
        (("--trainer.lr", "0.1"), "trainer.lr=0.1"),
        (("--overwrite",), "overwrite=VALUE"),
        (("seed",), "'seed' is no key=value"),
        (("--cfg",), "--cfg needs a value"),
        (("--config-dir",), "--config-dir needs a value"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_flags_that_are_none_are_refused_with_the_way_out(cli, handler, workplace, words, hint):
    assert hint in assert_refused(cli("train", *words), workplace)
    assert handler.jobs == []


@pytest.mark.parametrize("flag", ["-cn", "-cp", "--config-name", "--config-path"])
@pytest.mark.parametrize("joined", [False, True])
def test_flags_that_would_leave_our_configs_are_refused(cli, handler, workplace, flag, joined):
    words = (f"{flag}=report",) if joined else (flag, "report")
    assert f"{flag} is refused" in assert_refused(cli("train", *words), workplace)
    assert handler.jobs == []


@pytest.mark.parametrize(
    ("word", "key"),
    [
        ("seed=abc", "seed"),
        ("seed=null", "seed"),
        ("device=gpu", "device"),
        ("trainer.epochs=-1", "trainer.epochs"),
        ("trainer.lr=nan", "trainer.lr"),
        ("trainer.optimizer=adam", "trainer.optimizer"),
        ("model.alpha=2", "model.alpha"),
        ("model.maps_per_class=0", "model.maps_per_class"),
        ("model.blocks=3", "model.blocks"),
        ("model.blocks=[a]", "model.blocks"),
        ("zzzz=1", "zzzz"),
        ("trainer.zzzz=1", "trainer.zzzz"),
        ("+zzzz=1", "zzzz"),
        ("+trainer.zzzz=1", "trainer.zzzz"),
        ("~seed", "seed"),
        ("~trainer.lr", "trainer.lr"),
        ("seed=[1", "[1"),
        ("trainer.lr=${zzzz}", "zzzz"),
        ("seed=", "seed"),
        ("", "key=value"),
    ],
)
def test_words_that_no_run_could_use_are_refused_in_one_line(cli, handler, workplace, word, key):
    assert key in assert_refused(cli("train", word), workplace)
    assert handler.jobs == []


def test_the_same_check_lets_a_good_word_through(cli, handler, workplace):
    handler.act = finish
    assert cli("train", "trainer.lr=0.01") == (0, "", "")
    assert len(handler.jobs) == 1
    assert (workplace / "results/train/shapes-fa_cnn-seed0/DONE.json").is_file()


def test_a_key_of_another_model_is_named_so(cli, handler, workplace):
    refusal = assert_refused(cli("train", "model=resnet_small", "model.alpha=0.5"), workplace)
    assert refusal == "model.alpha is no key of the model that was chosen."


@pytest.mark.parametrize(
    ("words", "words_of_it"),
    [
        (("benchmark-removal", "methods=[gradcam]"), ("methods", "grad_cam")),
        (("benchmark-removal", "fractions=[0.5,1]"), ("fractions", "0 to 1")),
        (("benchmark-removal",), ("checkpoint=PATH",)),
        (("benchmark-removal", "checkpoint=missing.pt"), ("missing.pt", "no such file")),
        (("benchmark-sanity",), ("checkpoint=PATH",)),
        (("benchmark-sanity", "checkpoint=missing.pt"), ("missing.pt", "no such file")),
        (("verify-gradcam", "score=logits"), ("score", "Did you mean logit?")),
        (("verify-gradcam",), ("checkpoint=PATH",)),
        (("verify-gradcam", "checkpoint=missing.pt"), ("missing.pt", "no such file")),
        (("train", "model=from_checkpoint"), ("from_checkpoint",)),
        (("train", "data=from_checkpoint"), ("from_checkpoint",)),
        (("train", "device=cuda:99"), ("device=cuda:99",)),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_a_subcommand_cannot_use_is_refused_in_one_line(cli, workplace, words, words_of_it):
    refusal = assert_refused(cli(*words), workplace)
    for part in words_of_it:
        assert part in refusal


def test_results_is_relative_to_the_working_directory(cli, handler, workplace, tmp_path, monkeypatch):
    handler.act = finish
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        assert cli("train", "results=out").code == 0
        assert (tmp_path / folder / "out/train/shapes-fa_cnn-seed0/DONE.json").is_file()
    assert list(workplace.iterdir()) == []


def test_hydra_leaves_no_files_of_its_own(cli, handler, workplace):
    assert cli("train").code == 0
    assert list(workplace.iterdir()) == []


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
    assert names == ["shapes-fa_cnn-seed0-trainer.lr=0.1", "shapes-fa_cnn-seed0-trainer.lr=0.2"]


def test_a_sweep_that_a_config_holds_names_its_runs_too(cli, handler, workplace):
    folder = workplace / "mine" / "experiment"
    folder.mkdir(parents=True)
    sweep = "# @package _global_\nhydra:\n  sweeper:\n    params:\n      trainer.lr: 0.1,0.2\n"
    (folder / "rates.yaml").write_text(sweep)
    handler.act = finish
    code, _, err = cli("train", "-m", "--config-dir", str(workplace / "mine"), "experiment=rates")
    assert (code, err) == (0, "")
    names = sorted(path.name for path in workplace.glob("results/train/*"))
    assert names == ["shapes-fa_cnn-seed0-trainer.lr=0.1", "shapes-fa_cnn-seed0-trainer.lr=0.2"]


def test_a_launcher_that_is_not_installed_is_refused(cli, handler, workplace):
    code, out, err = cli("train", "-m", "hydra/launcher=cluster", "seed=0,1")
    assert (code, out, handler.jobs) == (2, "", [])
    assert err.count("\n") == 1 and "fa-repro[cluster]" in err


def test_a_failure_in_another_process_comes_home_as_an_exception(cli, handler, workplace, monkeypatch):
    monkeypatch.setattr("fa_repro.cli._at_home", lambda: False)
    handler.act = refuse_seed_0
    code, _, err = cli("train", "-m", "seed=0,1")
    assert code == 2
    assert err.splitlines()[0] == "fa-repro: seed 0 has no images."
    assert "exit code 2" in err.splitlines()[-1]


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
def test_a_sweep_over_what_cannot_be_composed_starts_no_job_or_the_others(cli, handler, workplace, swept):
    code, out, err = cli("train", "-m", swept)
    assert code == 2
    assert len(err.splitlines()) == 1 and err.startswith("fa-repro: ")
    assert handler.jobs == [] or len(out.splitlines()) == 2


def test_two_jobs_of_a_sweep_under_one_name_are_refused(cli, handler, workplace):
    handler.act = finish
    code, out, err = cli("train", "name=same", "-m", "trainer.lr=0.1,0.2")
    assert code == 2
    assert out.splitlines() == ["job 0: done", "job 1: exit 2"]
    assert "name=OTHER" in err


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


def test_a_bug_of_ours_is_not_hidden(cli, handler, workplace):
    def act(cfg):
        raise ZeroDivisionError("ours")

    handler.act = act
    with pytest.raises(ZeroDivisionError, match="ours"):
        cli("train")


def test_calls_leave_the_process_as_it_was(cli, handler, workplace):
    before = signal.getsignal(signal.SIGTERM), list(sys.argv), dict(os.environ)
    assert cli("train").code == 0
    assert (signal.getsignal(signal.SIGTERM), list(sys.argv), dict(os.environ)) == before


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


def completions(cli, monkeypatch, line: str) -> set[str]:
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    code, out, err = cli("-sc", "query=bash")
    assert (code, err) == (0, "")
    return set(out.split())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("fa-repro tr", {"train"}),
        ("fa-repro ", set(SUBCOMMANDS)),
        ("fa-repro", set(SUBCOMMANDS)),
        ("fa-repro x", set()),
        ("fa-repro xyz mod", set()),
    ],
)
def test_completion_of_the_subcommand(cli, monkeypatch, line, expected):
    assert completions(cli, monkeypatch, line) == expected


def test_completion_of_keys_and_choices(cli, monkeypatch):
    assert "model=" in completions(cli, monkeypatch, "fa-repro train mod")
    assert completions(cli, monkeypatch, "fa-repro train model=resnet") == {
        "model=resnet18",
        "model=resnet_small",
        "model=resnet_whitened",
    }
    assert completions(cli, monkeypatch, "fa-repro benchmark-removal seed=1 ups") == {"upsampling="}
    assert completions(cli, monkeypatch, "fa-repro train ups") == set()


def test_completion_installs_for_our_program(cli):
    code, out, err = cli("-sc", "install=bash")
    assert (code, err) == (0, "")
    assert re.search(r"complete .*-F \w+ fa-repro$", out, re.MULTILINE)
