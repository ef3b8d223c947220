"""A training that was stopped, killed or lost a file: the same words go on, bit for bit, or say why not."""

import json
import os
import re
import signal
import subprocess
import sys

import pandas as pd
import pytest
import torch

from fa_repro.training import Trainer
from networks import equal
from refusals import one_line
from training_runs import EXACT, FILES, history, weights


def stop_in_epoch(monkeypatch, epoch: int, number: int = signal.SIGINT) -> None:
    real = Trainer.epoch

    def stopped(self, now):
        if now == epoch:
            os.kill(os.getpid(), number)
        return real(self, now)

    monkeypatch.setattr(Trainer, "epoch", stopped)


@pytest.mark.usefixtures("undrawn_curves")
@pytest.mark.parametrize(
    ("words", "number", "code"),
    [
        ((), signal.SIGINT, 130),
        (("trainer.optimizer=sgd", "trainer.augment.removal=0.5", "trainer.val_fraction=0"), signal.SIGTERM, 143),
        (("model=resnet_small", "model.blocks=[1,1]", "model.widths=[8,16]"), signal.SIGINT, 130),
    ],
    ids=["adamw", "sgd, removal", "resnet_small"],
)
def test_a_stopped_run_goes_on_bit_for_bit(cli, tiny, workplace, monkeypatch, words, number, code):
    kept = [word for word in tiny if not (words[:1] == ("model=resnet_small",) and word.startswith("model."))]
    words = ("train", *kept, *words)
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 2, number)
        answer = cli(*words, "name=stopped")
    assert answer.code == code
    assert answer.err.splitlines()[-1] == "fa-repro: stopped; the same words go on from here."
    stopped = workplace / "results/train/stopped"
    assert {path.name for path in stopped.iterdir()} == {".identity.json", ".resume.pt", "config.yaml", "history.csv"}
    assert len(history(stopped)) == 1

    code, out, _ = cli(*words, "name=stopped")
    assert code == 0 and "going on after epoch 1 of 2" in out
    assert {path.name for path in stopped.iterdir()} == FILES

    code, out, _ = cli(*words, "name=whole")
    assert code == 0 and "going on" not in out
    whole = workplace / "results/train/whole"
    assert equal(weights(stopped), weights(whole))
    pd.testing.assert_frame_equal(history(stopped)[EXACT], history(whole)[EXACT], check_exact=True)
    told = [json.loads((run / "metrics.json").read_text()) for run in (stopped, whole)]
    assert told[0]["top1"] == told[1]["top1"] and told[0]["loss"] == told[1]["loss"]
    assert told[0]["seconds"] == pytest.approx(history(stopped).seconds.sum(), abs=0.06)


@pytest.mark.usefixtures("undrawn_curves")
def test_a_run_that_began_otherwise_does_not_go_on(cli, tiny, workplace, monkeypatch):
    words = (*tiny, "trainer.precision=fp32", "name=stopped")  # by itself it is bf16 on some processors
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 2)
        assert cli("train", *words).code == 130
    resume = workplace / "results/train/stopped/.resume.pt"
    state = torch.load(resume, weights_only=True)
    here = {"device": "cpu", "precision": "fp32", "processes": 1, "steps": "eager"}
    assert state["made"] == here | {"torch": torch.__version__, "threads": torch.get_num_threads()}
    other = {"device": "cuda", "precision": "bf16", "processes": 2, "steps": "compiled", "torch": "1.0", "threads": 99}
    for key, value in other.items():
        torch.save(state | {"made": state["made"] | {key: value}}, resume)
        refusal = one_line(cli("train", *words))
        assert f"{key} {value} there, {state['made'][key]} here" in refusal and "overwrite=true" in refusal
    torch.save(state | {"made": here}, resume)  # of an earlier version, which did not tell the rest
    assert "torch unknown there" in one_line(cli("train", *words))
    torch.save({key: value for key, value in state.items() if key != "made"}, resume)
    assert "can't be gone on from (KeyError)" in one_line(cli("train", *words))
    torch.save(state, resume)
    assert cli("train", *words).code == 0


@pytest.mark.usefixtures("undrawn_curves")
def test_a_run_stopped_in_its_first_epoch_starts_anew(cli, tiny, trained, workplace, monkeypatch):
    with monkeypatch.context() as patch:
        stop_in_epoch(patch, 1)
        assert cli("train", *tiny, "name=stopped").code == 130
    assert {path.name for path in (workplace / "results/train/stopped").iterdir()} == {".identity.json", "config.yaml"}
    code, out, _ = cli("train", *tiny, "name=stopped")
    assert code == 0 and "going on" not in out
    assert equal(weights(workplace / "results/train/stopped"), weights(trained))


@pytest.mark.usefixtures("undrawn_curves")
def test_a_run_that_lost_its_checkpoint_is_made_again(cli, tiny, trained, workplace):
    words = ("train", *tiny, "name=lost")
    assert cli(*words).code == 0
    run = workplace / "results/train/lost"
    (run / "checkpoint.pt").unlink()
    code, _, err = cli(*words)
    assert code == 0 and "checkpoint.pt is missing" in err
    assert {path.name for path in run.iterdir()} == FILES
    assert equal(weights(run), weights(trained))


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn_curves")
def test_a_killed_run_goes_on_bit_for_bit(cli, tiny, workplace):
    words = (*tiny, "trainer.epochs=6", "trainer.val_fraction=0")
    command = [sys.executable, "-m", "fa_repro", "train", *words, "name=killed"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("epoch 2/6"):
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL
    run = workplace / "results/train/killed"
    assert not (run / "DONE.json").exists()

    answer = cli("train", *words, "name=killed")
    assert answer.code == 0 and re.search(r"going on after epoch [1-6] of 6", answer.out)
    assert cli("train", *words, "name=whole").code == 0
    assert equal(weights(run), weights(workplace / "results/train/whole"))
