"""The command line: what it prints and imports, what reaches the handler, and its exit code."""

import os
import re
import signal
import subprocess
import sys
import types
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

import fa_repro
from commands import SUBCOMMANDS, finish


@pytest.mark.parametrize("words", [(), ("-h",), ("--help",), ("help",)])
def test_usage_has_a_line_for_each_subcommand(cli, words):
    code, out, err = cli(*words)
    assert (code, err) == (0, "")
    for name in SUBCOMMANDS:
        assert re.search(rf"^  {name} +\w", out, re.MULTILINE)
    assert not re.search(r"^  no-such +\w", out, re.MULTILINE)


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


# Imports


def imported(importtime: str) -> set[str]:
    lines = [line for line in importtime.splitlines() if line.startswith("import time:")]
    return {line.rsplit("|", 1)[1].strip() for line in lines}


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


# The handler


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


@pytest.mark.parametrize("command", SUBCOMMANDS)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_command_says_whether_the_same_words_go_on(cli, workplace, monkeypatch, command, number, code):
    stand_in = types.SimpleNamespace(run=lambda cfg: os.kill(os.getpid(), number))
    monkeypatch.setitem(sys.modules, f"fa_repro.commands.{command.replace('-', '_')}", stand_in)
    does = "go on from here" if command in ("train", "benchmark-removal") else "start this run anew"
    assert cli(command) == (code, "", f"fa-repro: stopped; the same words {does}.\n")


def test_overwriting_words_would_not_go_on(cli, handler, workplace):
    handler.act = lambda cfg: os.kill(os.getpid(), signal.SIGTERM)
    _, _, err = cli("train", "seed=1", "overwrite=true")
    assert err == "fa-repro: stopped; the same words without overwrite=true go on from here.\n"


def test_a_bug_of_ours_is_not_hidden(cli, handler, workplace):
    def act(cfg):
        raise ZeroDivisionError("ours")

    handler.act = act
    code, _, err = cli("train")
    assert code == 3  # 1 is an answer, 2 the user's mistake
    assert "Traceback" in err and err.endswith("ZeroDivisionError: ours\n")


# What is left behind


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


def test_calls_leave_the_process_as_it_was(cli, handler, workplace):
    before = signal.getsignal(signal.SIGTERM), list(sys.argv), dict(os.environ)
    assert cli("train").code == 0
    assert (signal.getsignal(signal.SIGTERM), list(sys.argv), dict(os.environ)) == before
