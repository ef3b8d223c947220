"""Sweeps through hydra-submitit-launcher: processes of this machine, and what is said where there is no Slurm."""

import json
import os
import subprocess
import sys

import pytest

from refusals import one_line

pytest.importorskip("hydra_plugins.hydra_submitit_launcher")


def sweep(folder, tiny, launcher, *words):
    command = [sys.executable, "-m", "fa_repro", "train", "-m", f"hydra/launcher={launcher}", *tiny, *words]
    environ = os.environ | {"OMP_NUM_THREADS": "1", "PATH": os.path.dirname(sys.executable)}  # no srun, wherever it is
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environ, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_each_job_is_a_process_with_a_run_of_its_own(tiny, tmp_path):
    words = ("trainer.epochs=1", f"results={tmp_path}")
    code, _, err = sweep(tmp_path, tiny, "submitit_local", "seed=0,1", *words)
    assert code == 0, err
    runs = sorted(path.parent for path in tmp_path.glob("train/*/DONE.json"))
    assert [json.loads((run / "provenance.json").read_text())["seed"] for run in runs] == [0, 1]
    code, _, err = sweep(tmp_path, tiny, "submitit_local", "trainer.batch_size=100000,50", *words)
    assert code != 0 and "trainer.batch_size=100000" in err  # a job that fails is no success


def test_without_slurm_the_cluster_is_refused_in_one_line(tiny, tmp_path):
    said = one_line(sweep(tmp_path, tiny, "cluster", "seed=0,1", f"results={tmp_path}"))
    assert "slurm" in said and "hydra/launcher=submitit_local" in said
    assert not list(tmp_path.glob("train/*"))
