"""The run directory: skip, resume, refuse or replace; what a run leaves behind."""

import json

import pytest
import yaml
from omegaconf import OmegaConf

from fa_repro import files, rundir
from fa_repro.errors import InputError
from fa_repro.rundir import RunDir, default_name


def opened(cfg, **options) -> RunDir:
    return RunDir(cfg, "train", "run", **options)


def started(cfg, **options) -> RunDir:
    run = opened(cfg, **options)
    assert not run.finished
    run.start()
    return run


def finished(cfg, exit_code: int = 0, **options) -> RunDir:
    run = opened(cfg, **options)
    assert not run.finished
    run.write_text("result.txt", "42")
    run.finish("a device", exit_code)
    return run


def names(run: RunDir) -> set[str]:
    return {path.name for path in run.path.iterdir()}


def test_the_directory_is_results_command_name(config, tmp_path):
    assert opened(config()).path == tmp_path / "results" / "train" / "run"
    assert default_name(config()) == "shapes-fa_cnn-seed4"
    assert default_name(OmegaConf.create({"data": {"name": "mnist"}, "seed": 0})) == "mnist-seed0"


def test_opening_writes_nothing(config, tmp_path):
    run = opened(config())
    assert list(tmp_path.iterdir()) == []
    run.write_text("result.txt", "42")
    assert names(run) == {".identity.json", "config.yaml", "result.txt"}


def test_opening_costs_no_earlier_run(config):
    run = finished(config())
    kept = {path: path.read_bytes() for path in run.path.iterdir()}
    assert not opened(config(overwrite=True)).finished
    assert kept == {path: path.read_bytes() for path in run.path.iterdir()}
    assert opened(config()).finished


def test_the_config_is_written_at_the_start(config):
    cfg = config(trainer__lr="${data.n_train}")
    run = started(cfg)
    written = yaml.safe_load((run.path / "config.yaml").read_text())
    assert written == OmegaConf.to_container(cfg, resolve=True)
    assert written["trainer"]["lr"] == 10
    assert "DONE.json" not in names(run)


def test_a_finished_run_is_skipped_and_says_so(config, capsys):
    first = finished(config())
    before = {path: path.stat().st_mtime_ns for path in first.path.iterdir()}
    second = opened(config())
    assert second.finished
    assert second.report_finished() == 0
    out, err = capsys.readouterr()
    assert "already finished" in out and "overwrite=true" in out and str(first.path) in out and err == ""
    assert before == {path: path.stat().st_mtime_ns for path in first.path.iterdir()}


def test_a_skipped_run_gives_the_answer_it_gave(config):
    assert finished(config(), exit_code=1).report_finished() == 1
    assert opened(config()).report_finished() == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"trainer__lr": 0.2}, "trainer.lr: 0.1 there, 0.2 here"),
        ({"trainer__blocks": [1, 3]}, "trainer.blocks: [1, 2] there, [1, 3] here"),
        ({"seed": 5}, "seed: 4 there, 5 here"),
        ({"data__n_train": None}, "data.n_train: 10 there, None here"),
        ({"trainer__momentum": 0.9}, "trainer.momentum: None there, 0.9 here"),
    ],
)
@pytest.mark.parametrize("make", [started, finished])
def test_another_config_under_the_name_is_refused(config, make, changes, named):
    run = make(config())
    kept = {path: path.read_bytes() for path in run.path.iterdir()}
    with pytest.raises(InputError) as refused:
        opened(config(**changes))
    message = str(refused.value)
    assert named in message and "overwrite=true" in message and "name=" in message and str(run.path) in message
    assert "\n" not in message
    assert kept == {path: path.read_bytes() for path in run.path.iterdir()}


@pytest.mark.parametrize("changes", [{"device": "cuda"}, {"name": "run"}])
def test_what_changes_no_result_is_no_other_config(config, changes):
    finished(config())
    assert opened(config(**changes)).finished


def test_the_images_of_a_forward_pass_change_no_result_but_a_speed(config):
    def opened(command, size):
        return RunDir(config(batch_size=size), command, "run")

    for command in ("explain", "benchmark-removal", "benchmark-sanity", "benchmark-localization"):
        first = opened(command, 500)
        first.finish("cpu")
        assert opened(command, 4).finished and opened(command, 4).fingerprint == first.fingerprint
        # Of a run of an earlier version, which had it in.
        path = first.path / ".identity.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"batch_size": 500}))
        assert opened(command, 4).finished
        opened(command, 4).start()
        assert "provenance.json" in names(first)
    opened("benchmark-speed", 500).finish("cpu")
    with pytest.raises(InputError, match="batch_size: 500 there, 4 here"):
        opened("benchmark-speed", 4)
    finished(config(trainer__batch_size=500))
    with pytest.raises(InputError, match=r"trainer\.batch_size: 500 there, 4 here"):
        RunDir(config(trainer__batch_size=4), "train", "run")


def test_results_may_be_moved(config, tmp_path):
    finished(config())
    (tmp_path / "results").rename(tmp_path / "moved")
    assert opened(config(results=str(tmp_path / "moved"))).finished
    assert not opened(config()).finished


def test_another_name_or_command_is_another_run(config):
    finished(config())
    assert not RunDir(config(trainer__lr=0.2), "train", "other").finished
    assert not RunDir(config(), "verify-gradcam", "run").finished


def test_overwrite_replaces_everything(config):
    run = finished(config())
    (run.path / ".resume.pt").write_text("old")
    kept = names(run)
    again = opened(config(trainer__lr=0.2, overwrite=True))
    assert not again.finished and names(again) == kept
    again.start()
    assert names(again) == {".identity.json", "config.yaml"}
    again.finish("cpu")
    assert opened(config(trainer__lr=0.2)).finished
    with pytest.raises(InputError):
        opened(config())


def test_overwrite_runs_the_same_config_again_too(config):
    finished(config())
    assert opened(config()).finished
    assert not opened(config(overwrite=True)).finished


def test_overwrite_where_nothing_is_is_a_start(config):
    assert not opened(config(overwrite=True)).finished


def test_an_unfinished_run_goes_on_with_its_files(config):
    started(config()).write_text(".resume.pt", "half way")
    again = started(config())
    assert (again.path / ".resume.pt").read_text() == "half way"


def test_a_run_that_lost_a_file_is_run_again(config, capsys):
    run = finished(config())
    (run.path / "result.txt").unlink()
    again = started(config())
    assert "result.txt is missing" in capsys.readouterr().err
    assert "DONE.json" not in names(again) and not opened(config()).finished


@pytest.mark.parametrize("content", ["", "{", "not json"])
def test_a_damaged_done_file_is_no_done_file(config, content):
    run = finished(config())
    (run.path / "DONE.json").write_text(content)
    assert not opened(config()).finished


def test_a_file_that_was_added_by_hand_changes_nothing(config):
    run = finished(config())
    (run.path / "notes.md").write_text("mine")
    assert opened(config()).finished


def test_another_checkpoint_is_another_config(config):
    finished(config(), inputs={"checkpoint": "aaaa"})
    assert opened(config(), inputs={"checkpoint": "aaaa"}).finished
    with pytest.raises(InputError, match=r"inputs\.checkpoint: aaaa there, bbbb here.*overwrite=true"):
        opened(config(), inputs={"checkpoint": "bbbb"})


@pytest.mark.parametrize("name", ["a/b", "/a", "a/", "..", ".", "", "a\0b"])
def test_a_name_that_is_no_folder_is_refused(config, tmp_path, name):
    with pytest.raises(InputError, match="name of one folder"):
        RunDir(config(), "train", name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a b", "..a", "a.b", "é", "a=1"])
def test_other_names_are_folders(config, name):
    run = RunDir(config(), "train", name)
    run.start()
    assert run.path.is_dir()


@pytest.mark.parametrize("where", ["results", "results/train", "results/train/run"])
def test_a_file_in_the_place_of_the_folder_is_refused(config, tmp_path, where):
    path = tmp_path / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    with pytest.raises(InputError, match="results=") as refused:
        started(config())
    assert "\n" not in str(refused.value)
    assert path.read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_refused(config, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files.tempfile, "mkstemp", denied)
    with pytest.raises(InputError, match=r"Permission denied.*results="):
        started(config())


def test_a_name_too_long_for_a_folder_is_refused(config):
    with pytest.raises(InputError, match="too long"):
        RunDir(config(), "train", "x" * 300).start()


def test_write_leaves_the_old_file_whole(config):
    run = started(config())
    run.write("a.bin", lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"ne")
        raise OSError("disk full")

    with pytest.raises(InputError, match=r"disk full\. Make room or give another results= folder"):
        run.write("a.bin", fail)
    assert (run.path / "a.bin").read_bytes() == b"old"
    assert names(run) == {".identity.json", "config.yaml", "a.bin"}


def test_no_temporary_file_remains(config):
    assert names(finished(config())) == {
        ".identity.json",
        "config.yaml",
        "result.txt",
        "provenance.json",
        "DONE.json",
    }


def test_done_lists_the_files_and_the_answer(config):
    run = opened(config())
    run.write_text("b.txt", "")
    run.write_text(".hidden", "")
    run.finish("cpu", exit_code=1)
    done = json.loads((run.path / "DONE.json").read_text())
    assert done == {"exit_code": 1, "files": ["b.txt", "config.yaml", "provenance.json"]}


def test_done_is_written_last(config, monkeypatch):
    order = []
    replace = files.os.replace
    monkeypatch.setattr(files.os, "replace", lambda a, b: (order.append(b.name), replace(a, b)))
    finished(config())
    assert order == [".identity.json", "config.yaml", "result.txt", "provenance.json", "DONE.json"]


def test_without_provenance_a_run_is_not_done(config, monkeypatch):
    monkeypatch.setattr(rundir, "git_state", lambda: object())  # can't be written as JSON
    run = started(config())
    with pytest.raises(TypeError):
        run.finish("cpu")
    assert "DONE.json" not in names(run) and not opened(config()).finished


def test_where_a_data_sets_files_lie_is_no_other_config_but_another_image_folder_is(config):
    finished(config(data__root="here", data__download=True, data__cache=None))
    assert opened(config(data__root="there", data__download=False, data__cache="cache")).finished
    folder = {"data__name": "image_folder", "data__root": "here", "overwrite": True}
    finished(config(**folder))
    with pytest.raises(InputError, match=r"data\.root: here there, there here"):
        opened(config(**folder | {"data__root": "there", "overwrite": False}))


def test_what_an_earlier_run_found_does_not_pass_for_the_run_that_takes_its_place(config):
    """As in a fresh clone: results are there, and the mark that says which config they are of is not."""
    run = finished(config())
    (run.path / ".identity.json").unlink()
    again = started(config(trainer__lr=0.2))
    assert "provenance.json" not in names(again) and "result.txt" in names(again)
    again.finish("cpu")
    (again.path / "DONE.json").unlink()
    assert "provenance.json" in names(started(config(trainer__lr=0.2)))  # the same config's, until it is written anew


def test_provenance_counts_earlier_starts(config):
    run = started(config())
    run.finish("cpu", earlier=100.0)
    assert json.loads((run.path / "provenance.json").read_text())["seconds"] >= 100
