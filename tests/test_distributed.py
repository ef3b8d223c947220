"""Two processes under torchrun train what one trains: the same losses, one run directory, and going on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from fa_repro.errors import InputError
from fa_repro.training import World
from networks import equal

HERE = Path(__file__).parent


ENVIRON = os.environ | {"OMP_NUM_THREADS": "1"}


def launched(*words: str) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *words]


def torchrun(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(launched(*words), capture_output=True, text=True, timeout=600, env=ENVIRON)


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("processes")
    done = torchrun(str(HERE / "two_processes.py"), str(folder))
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "found.json").read_text())


@pytest.mark.slow
def test_the_first_twenty_losses_are_those_of_one_process(found):
    # Batch norm is frozen in both: each process would normalise by the statistics of its own half.
    assert len(found["together"]) == len(found["alone"]) == 20
    assert found["together"] == pytest.approx(found["alone"], abs=1e-4)
    assert found["alone"][0] != pytest.approx(found["alone"][19], abs=1e-3)
    # The negative control: another network's losses are told apart.
    assert found["together"] != pytest.approx(found["unfrozen_alone"], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "another"), [("fa_cnn", "locality"), ("locality", "fa_cnn")])
def test_so_are_those_of_an_fa_cnn_with_and_without_a_loss_on_its_maps(found, case, another):
    assert len(found["others"][case]) == 20
    assert found["others"][case] == pytest.approx(found["others_alone"][case], abs=1e-4)
    assert found["others"][case] != pytest.approx(found["others_alone"][another], abs=1e-4)


@pytest.mark.slow
def test_history_and_evaluation_are_those_of_one_process(found):
    (together, alone) = found["history"][0], found["history_alone"][0]
    for key in ("lr", "train_loss", "val_loss", "val_top1"):
        assert together[key] == pytest.approx(alone[key], abs=1e-4)
    assert found["score"] == pytest.approx(found["score_alone"], abs=1e-6)


@pytest.mark.slow
def test_all_evaluate_by_the_mean_of_all_running_statistics(found):
    from_the_mean, apart = found["pooled"]
    assert found["buffers_equal"] and from_the_mean < 1e-6 < 1e-3 < apart
    # Each process's own: no step overwrites them by another's.
    steps, from_its_own = found["first_layer"]
    assert steps == 20 and from_its_own < 1e-6


@pytest.mark.slow
def test_what_stops_the_first_process_stops_the_others(found):
    assert found["refused"] == ["no data", "the process of rank 0 could not begin, and says why."]


@pytest.mark.slow
def test_a_resumed_training_ends_with_the_same_weights(found):
    assert found["resumed_equal"]


@pytest.fixture(scope="module")
def words(tiny) -> tuple[str, ...]:
    return ("-m", "fa_repro", "train", *tiny, "trainer.epochs=4")


@pytest.fixture(scope="module")
def whole(words, tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The results of a training by two processes that nobody stopped, and what they said."""
    results = tmp_path_factory.mktemp("whole")
    done = torchrun(*words, f"results={results}", "name=two")
    assert done.returncode == 0, done.stderr
    return results, done


@pytest.mark.slow
def test_train_under_torchrun_leaves_one_run(words, whole):
    results, done = whole
    assert done.stdout.count("test top-1") == 1 and done.stderr.count("epoch 4/4") == 1
    folder = results / "train" / "two"
    assert [path.name for path in results.glob("*/*")] == ["two"]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["processes"], metrics["n_test"]) == (2, 60)
    assert len(pd.read_csv(folder / "history.csv")) == 4
    assert {"checkpoint.pt", "DONE.json", "provenance.json"} <= {path.name for path in folder.iterdir()}
    again = torchrun(*words, f"results={results}", "name=two")
    assert again.returncode == 0 and again.stdout.count("already finished") == 1


@pytest.mark.slow
def test_killed_processes_go_on_together_and_end_with_the_same_weights(words, whole, tmp_path):
    words = (*words, f"results={tmp_path}", "name=killed")
    with subprocess.Popen(launched(*words), stderr=subprocess.PIPE, text=True, env=ENVIRON) as process:
        for line in process.stderr:
            if line.startswith("epoch 2/4"):
                process.terminate()  # torchrun ends its processes
                break
    killed = tmp_path / "train" / "killed"
    assert not (killed / "DONE.json").exists()
    again = torchrun(*words)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("going on after epoch") == 1 and again.stderr.count("epoch 4/4") == 1
    first, second = (torch.load(run / "checkpoint.pt") for run in (killed, whole[0] / "train" / "two"))
    assert equal(first["state"], second["state"])


def test_shares_are_disjoint_and_whole():
    values = torch.arange(11)
    shares = [World(rank, 3).share(values) for rank in range(3)]
    assert [share.tolist() for share in shares] == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8]]
    assert torch.equal(World().share(values), values)


def test_a_batch_that_cannot_be_shared_is_refused():
    from two_processes import trainer

    with pytest.raises(InputError, match=r"batch_size=16: no multiple of the 3 processes"):
        trainer(World(0, 3), frozen=False)
