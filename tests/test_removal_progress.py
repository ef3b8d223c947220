"""``fa-repro benchmark-removal`` stopped in the middle: the same words end with the same tables, bit for bit."""

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from omegaconf import OmegaConf

from fa_repro.commands import benchmark_removal
from fa_repro.errors import InputError
from fa_repro.progress import Progress
from fa_repro.reader import Reader
from fa_repro.removal import benchmark
from fa_repro.rundir import RunDir

METHODS = ("permutation", "random", "center")  # without the controls they would be added
CPU = torch.device("cpu")
SIZE = 3  # images of a batch
BATCHES = 2
PARTS = BATCHES * len(METHODS)
TABLES = ("curves.csv", "differences.csv", "per_image.csv.gz")


@pytest.fixture
def words(untrained, tmp_path):
    words = [
        "n_images=6",
        f"batch_size={SIZE}",
        f"methods=[{','.join(METHODS)}]",
        "imputation=[mean,noise]",
        "repeats=1",
    ]
    words += ["fractions=[0,0.4,1]", "bootstrap=100", "patch=8", "device=cpu", f"results={tmp_path}"]
    return ["benchmark-removal", f"checkpoint={untrained('progress', 3)}", *words]


@pytest.fixture
def undrawn(monkeypatch):
    # Most of a tiny run's time goes into its figures.
    for name in ("curves_figure", "draw_examples"):
        monkeypatch.setattr(benchmark_removal, name, lambda *_, **__: Figure(figsize=(1, 1)))


class Stopper:
    """Counts the parts that are measured, and stops the run before one of them."""

    def __init__(self, monkeypatch):
        self.measured, self.before, self.how = [], None, None
        for method in METHODS:
            monkeypatch.setitem(benchmark.METHODS, method, self._counting(method, benchmark.METHODS[method]))

    def _counting(self, method, explain):
        def counted(model, images, targets, context):
            if len(self.measured) == self.before:
                self.how()
            self.measured.append((method, int(context.rows[0])))
            return explain(model, images, targets, context)

        return counted

    def stop(self, before, how):
        self.measured, self.before, self.how = [], before, how


@pytest.fixture
def stopper(monkeypatch):
    return Stopper(monkeypatch)


def _power_cut():
    raise RuntimeError("the power is gone")


def _files(path):
    return sorted(file.name for file in path.glob(".progress-*"))


def _same_tables(one, other):
    for name in TABLES:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    a, b = pd.read_csv(one / "summary.csv"), pd.read_csv(other / "summary.csv")
    pd.testing.assert_frame_equal(a.drop(columns="seconds"), b.drop(columns="seconds"), check_exact=True)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_stopped_runs_end_with_the_same_tables(cli, words, stopper, tmp_path, monkeypatch):
    path = tmp_path / "benchmark-removal"
    chosen = [torch.channels_last, torch.channels_last]
    later = torch.contiguous_format
    monkeypatch.setattr(Reader, "_faster_format", lambda *_: chosen.pop() if chosen else later)
    assert cli(*words, "name=whole").code == 0
    assert len(stopper.measured) == PARTS and not _files(path / "whole")

    # Stopped by a signal after two parts, then by a crash after two more; the memory format and each part in a file of
    # its own. The later starts time the formats otherwise and keep the first choice all the same.
    monkeypatch.setattr("fa_repro.progress.SECONDS", 0.0)
    stopper.stop(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    code, _, err = cli(*words, "name=stopped")
    assert code == 143 and "the same words go on" in err
    assert len(_files(path / "stopped")) == 3 and not (path / "stopped" / "DONE.json").exists()
    first = stopper.measured
    stopper.stop(2, _power_cut)
    code, _, err = cli(*words, "name=stopped")
    assert code == 3 and "the power is gone" in err
    assert len(_files(path / "stopped")) == 5
    second = stopper.measured
    stopper.stop(None, _power_cut)
    code, out, err = cli(*words, "name=stopped")
    assert code == 0 and "going on, 5 parts are measured" in out, err
    assert len(first) == len(second) == len(stopper.measured) == 2
    assert {*first, *second, *stopper.measured} == {(method, row) for method in METHODS for row in (0, 3)}
    _same_tables(path / "stopped", path / "whole")
    assert not _files(path / "stopped") and (path / "stopped" / "DONE.json").exists()

    # The seed is what the tables hang on: with another one they differ, so that equal tables say something.
    assert cli(*words, "name=other", "seed=1").code == 0
    with pytest.raises(AssertionError):
        _same_tables(path / "other", path / "whole")


# A program whose last method never ends: what came before it lies in files.
HANGING = """
import sys, time
import torch
import fa_repro.progress
from fa_repro.cli import main
from fa_repro.reader import Reader
from fa_repro.removal import benchmark
fa_repro.progress.SECONDS = 0.0
Reader._faster_format = lambda *_: torch.channels_last  # as in the runs that it is held against
benchmark.METHODS["center"] = lambda *_: time.sleep(600)
sys.argv[0] = "fa-repro"
main()
"""


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn", "one_format")
def test_a_process_that_is_killed_leaves_what_the_same_words_go_on_from(cli, words, stopper, tmp_path):
    path = tmp_path / "benchmark-removal"
    assert cli(*words, "name=whole").code == 0
    with subprocess.Popen([sys.executable, "-c", HANGING, *words, "name=killed"], stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 120
        while len(_files(path / "killed")) < 2 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        process.kill()  # which no program can catch
    assert process.returncode == -signal.SIGKILL and not (path / "killed" / "DONE.json").exists()
    stopper.stop(None, _power_cut)
    code, out, err = cli(*words, "name=killed")
    assert code == 0 and "going on, " in out, err
    assert 0 < len(stopper.measured) < PARTS
    _same_tables(path / "killed", path / "whole")
    assert not _files(path / "killed")


@pytest.mark.parametrize("error", [MemoryError("no room"), torch.OutOfMemoryError("no room")])
def test_progress_for_which_memory_is_lacking_is_not_called_damaged(tmp_path, monkeypatch, error):
    (tmp_path / ".progress-0001.pt").write_bytes(b"parts")
    rundir = SimpleNamespace(path=tmp_path, fingerprint="0" * 16)
    with pytest.raises(InputError, match="can't be gone on from"):
        Progress(rundir, torch.device("cpu"), 5)

    def load(*_, **__):
        raise error

    monkeypatch.setattr(torch, "load", load)
    with pytest.raises(type(error), match="no room"):
        Progress(rundir, torch.device("cpu"), 5)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_progress_of_another_run_or_damaged_is_not_gone_on_from(cli, words, stopper, tmp_path, monkeypatch):
    monkeypatch.setattr("fa_repro.progress.SECONDS", math.inf)  # however slow the machine, one file a run
    path = tmp_path / "benchmark-removal"
    for name, more in (("one", []), ("two", ["upsampling=nearest"])):
        stopper.stop(3, _power_cut)
        code, _, err = cli(*words, f"name={name}", *more)
        assert code == 3 and "the power is gone" in err
        assert len(_files(path / name)) == 1
    stopper.stop(0, _power_cut)
    code, out, err = cli(*words, "name=one", "upsampling=nearest")
    assert code == 2 and "upsampling" in err and "overwrite=true" in err
    (file,) = (path / "one" / name for name in _files(path / "one"))
    whole = file.read_bytes()
    for content, needle in ((None, "another run"), (whole[: len(whole) // 2], "can't be gone on"), (b"", "can't be")):
        if content is None:
            shutil.copy(path / "two" / file.name, file)
        else:
            file.write_bytes(content)
        code, out, err = cli(*words, "name=one")
        assert code == 2 and err.startswith(f"fa-repro: {file}: ") and err.count("\n") == 1, err
        assert needle in err and "Remove it" in err and "Traceback" not in out + err
    file.unlink()  # as the line says
    stopper.stop(None, _power_cut)
    assert cli(*words, "name=one").code == 0
    assert len(stopper.measured) == PARTS


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn", "one_format")
def test_a_run_whose_memory_was_gone_goes_on_with_a_smaller_batch_and_ends_with_the_same_tables(
    cli, words, stopper, tmp_path
):
    path = tmp_path / "benchmark-removal"
    for name, *more in (["whole"], ["small", "batch_size=2"], ["other", "seed=1"]):
        assert cli(*words, f"name={name}", *more).code == 0

    def full():
        raise torch.OutOfMemoryError("no room")

    stopper.stop(4, full)
    code, _, err = cli(*words, "name=run")
    assert code == 2 and err.endswith("Give a smaller batch_size=.\n")
    stopper.stop(1, _power_cut)
    code, out, _ = cli(*words, "name=run", "batch_size=2")  # as the line says
    assert code == 3 and "5 parts of another batch_size are measured again" in out and "going on" not in out
    stopper.stop(None, _power_cut)
    code, out, err = cli(*words, "name=run", "batch_size=2")
    assert code == 0 and "5 parts of another batch_size" in out and "going on, 2 parts are measured" in out, err
    assert [row for method, row in stopper.measured if method == "center"] == [0, 2, 4]
    assert len(stopper.measured) == 3 * len(METHODS) - 1 and not _files(path / "run")
    _same_tables(path / "run", path / "small")  # whatever had been measured before
    images = {name: pd.read_csv(path / name / "per_image.csv.gz") for name in ("run", "whole", "other")}
    assert np.abs(images["run"].target_probability - images["whole"].target_probability).max() < 1e-5
    assert np.abs(images["run"].target_probability - images["other"].target_probability).max() > 1e-3
    assert "already finished" in cli(*words, "name=run").out


# --------------------------------------------------------------------------------------- the file itself


@pytest.fixture
def rundir(tmp_path):
    def make(**changes):
        cfg = {"seed": 4, "device": "cpu", "results": str(tmp_path), "name": None, "overwrite": False} | changes
        run = RunDir(OmegaConf.create(cfg), "benchmark-removal", "run")
        run.start()
        return run

    return make


def _found(value):
    return lambda: {"values": torch.tensor([value], dtype=torch.float64)}


def _never():
    raise AssertionError("measured again")


def test_a_part_is_found_once(rundir):
    with Progress(rundir(), CPU, SIZE) as progress:
        assert progress.part("a", _found(0.1))["values"].item() == 0.1
        assert progress.part("a", _never)["values"].item() == 0.1
        progress.part("b", _found(1 / 3))
    again = Progress(rundir(), CPU, SIZE)
    assert list(again.parts) == ["a", "b"] and again.part("b", _never)["values"].item() == 1 / 3
    assert 0 < again.seconds < 60
    again.clear()
    assert Progress(rundir(), CPU, SIZE).parts == {} and not _files(rundir().path)


class Elsewhere(torch.Tensor):
    """A tensor that is told to come to the CPU."""

    def cpu(self):
        return torch.tensor([2.0])


def test_what_is_written_does_not_stay_on_the_device(rundir):
    with Progress(rundir(), CPU, SIZE) as progress:
        part = progress.part("a", lambda: {"values": Elsewhere()})
        assert type(part["values"]) is Elsewhere
    assert type(part["values"]) is torch.Tensor and part["values"].tolist() == [2.0]


def test_a_file_is_written_when_time_has_passed_and_on_leaving(rundir, monkeypatch):
    run, now = rundir(), [0.0]
    monkeypatch.setattr("fa_repro.progress.time", SimpleNamespace(monotonic=lambda: now[0]))
    with pytest.raises(KeyboardInterrupt), Progress(run, CPU, SIZE) as progress:
        for second, files in ((5, 0), (19, 0), (21, 1), (30, 1), (42, 2), (50, 2)):
            now[0] = float(second)
            progress.part(f"at {second}", _found(second))
            assert len(_files(run.path)) == files
        raise KeyboardInterrupt
    assert len(_files(run.path)) == 3
    again = Progress(run, CPU, SIZE)
    assert len(again.parts) == 6 and again.seconds == 50


def test_parts_of_another_batch_size_are_left_aside_and_there_for_who_goes_back_to_it(rundir):
    for size, value in ((SIZE, 1.0), (2, 2.0)):
        with Progress(rundir(), CPU, size) as progress:
            assert progress.parts == {} and progress.left_aside == (size == 2)
            progress.part("a", _found(value))
    for size, value in ((SIZE, 1.0), (2, 2.0)):
        progress = Progress(rundir(), CPU, size)
        assert progress.part("a", _never)["values"].item() == value and progress.left_aside == 1
    progress.clear()
    assert not _files(rundir().path)


def test_overwrite_starts_anew(rundir):
    with Progress(rundir(), CPU, SIZE) as progress:
        progress.part("a", _found(1.0))
    assert Progress(rundir(overwrite=True), CPU, SIZE).parts == {}


@pytest.mark.parametrize(("name", "value"), [("device", "cuda"), ("torch", "1.0"), ("format", 0)])
def test_what_would_round_otherwise_is_refused(rundir, name, value):
    with Progress(rundir(), CPU, SIZE) as progress:
        progress._stamp[name] = value
        progress.part("a", _found(1.0))
    with pytest.raises(InputError, match=f"{name}: {value} there"):
        Progress(rundir(), CPU, SIZE)
