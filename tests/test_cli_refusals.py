"""Words that no run could use: refused in one line, with the way out."""

import re

import pytest
import torch
from omegaconf import OmegaConf

from commands import finish
from fa_repro import cli as command_line
from fa_repro.errors import did_you_mean
from fa_repro.rundir import RunDir
from refusals import assert_refused, one_line


@pytest.mark.slow
def test_program_refuses_in_one_line(program, tmp_path):
    assert "Did you mean seed?" in assert_refused(program("train", "sed=3", cwd=tmp_path), tmp_path)
    assert "Did you mean train?" in assert_refused(program("trian", cwd=tmp_path), tmp_path)


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
        (("-m", "seed=0,1", "--cfg", "job"), "--cfg shows the config of one job"),
        (("--multirun", "seed=0,1", "-c=job"), "--cfg shows the config of one job"),
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


@pytest.mark.parametrize(
    ("words", "way_out"),
    [
        (("train", "model=resnet_small", "model.alpha=0.5"), " Give model=fa_cnn, too."),
        (("train", "model=resnet18", "model.widths=[8]"), " Give model=resnet_small or model=resnet_whitened, too."),
        (("benchmark-removal", "model.factory=a.b:c"), " Give model=factory, too."),
        (("explain", "model.weights=a.pt"), " Give model=torchvision or model=factory, too."),
        (("train", "model.factory=a.b:c"), ""),  # which it would refuse
        (("verify-gradcam", "model.weights=a.pt"), ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_key_of_another_model_is_named_so_with_the_way_out(cli, handler, workplace, words, way_out):
    refusal = assert_refused(cli(*words), workplace)
    key = words[-1].partition("=")[0]
    assert refusal == f"{key} is no key of the model that was chosen.{way_out}"
    for choice in re.findall(r"model=\w+", way_out):
        answer = cli(*words, choice, "--cfg", "job")
        assert answer.code == 0 and f"{key.partition('.')[2]}:" in answer.out, answer.err


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
        (("train", "device=cuda:200"), ("device=cuda:200", "must be auto, cpu, cuda or cuda:N")),
        (("train", "data.root=~/x"), ("data.root=~/x", "quotes")),
        (("train", "experiment=search/depth"), ("a sweep over model.depth", "train -m")),
        (("report", "results=missing"), ("results=missing", "no such folder")),
    ],
    ids=lambda value: " ".join(value),
)
def test_what_a_subcommand_cannot_use_is_refused_in_one_line(cli, workplace, words, words_of_it):
    refusal = assert_refused(cli(*words), workplace)
    for part in words_of_it:
        assert part in refusal


def test_a_config_file_of_the_users_own_that_is_broken_is_refused_in_one_line(cli, workplace, tmp_path):
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer/mine.yaml").write_text("epochs: [1\n")
    refusal = assert_refused(cli("train", "--config-dir", str(tmp_path), "trainer=mine"), workplace)
    assert "a config file can't be read" in refusal and "mine.yaml" in refusal


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("no room"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.\nmore"),
        torch.OutOfMemoryError("CUDA: tried to allocate 9 bytes.\nmore"),
        RuntimeError("CUDA error: out of memory\nmore"),  # another process has it
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_memory_that_is_gone_is_one_line_with_the_way_out(cli, handler, workplace, error):
    def act(_):
        raise error

    handler.act = act
    refusal = assert_refused(cli("train"), workplace)
    way_out = "Give a smaller trainer.batch_size= and, as that is another run, name=OTHER or overwrite=true."
    assert refusal.startswith("out of memory (") and refusal.endswith(way_out)


@pytest.mark.parametrize("word", ["name=other", "overwrite=true"])
def test_the_way_out_of_a_run_that_has_begun_is_one(cli, handler, workplace, word):
    def begin(cfg):
        RunDir(cfg, "train", cfg.name or "run").start()
        raise MemoryError("no room")

    handler.act = begin
    assert f"{word.partition('=')[0]}=" in one_line(cli("train"))
    handler.act = lambda cfg: RunDir(cfg, "train", cfg.name or "run").finish("cpu") or 0
    assert "another config" in one_line(cli("train", "trainer.batch_size=7"))
    assert cli("train", "trainer.batch_size=7", word) == (0, "", "")


@pytest.mark.parametrize(
    ("command", "key", "another"),
    [
        ("benchmark-removal", "batch_size", False),
        ("benchmark-localization", "batch_size", False),
        ("explain", "batch_size", False),
        ("benchmark-sanity", "batch_size", False),
        ("verify-gradcam", "n_images", True),
        ("benchmark-speed what=training", "trainer.batch_size", True),
        ("benchmark-speed what=explanation", "batch_size", True),
        ("benchmark-speed what=removal", "batch_size", True),  # whose result hangs on it
    ],
)
def test_the_way_out_of_a_lack_of_memory_is_the_commands(cli, command, key, another):
    command, *words = command.split()
    cfg = OmegaConf.create(cli(command, *words, "--cfg", "job").out)
    line = command_line._more_memory(command, cfg)
    assert line.startswith(f" Give a smaller {key}=") and ("overwrite=true" in line) == another
    assert OmegaConf.select(cfg, key) > 1
    assert command_line._more_memory("report", OmegaConf.create({"results": "results"})) == ""


def test_an_error_of_ours_is_no_lack_of_memory(cli, handler, workplace):
    def act(_):
        raise RuntimeError("shapes don't fit")

    handler.act = act
    code, _, err = cli("train")
    assert code == 3 and err.endswith("RuntimeError: shapes don't fit\n")
