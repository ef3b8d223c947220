"""Whole files or none, and which file it is."""

import hashlib

import pytest

from fa_repro.files import digest, replacing
from refusals import refusal


def test_replacing_writes_the_whole_file(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("whole")
        assert temporary.parent == path.parent and not path.exists()
    assert path.read_text() == "whole"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_replacing_leaves_the_old_file_whole(tmp_path, error):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(error), replacing(path) as temporary:
        temporary.write_text("ne")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_digest_is_the_start_of_sha_256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert digest(tmp_path / "file") == "ba7816bf8f01cfea" == hashlib.sha256(b"abc").hexdigest()[:16]
    (tmp_path / "file").write_bytes(b"abd")
    assert digest(tmp_path / "file") != "ba7816bf8f01cfea"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "gone"):  # a folder, and nothing
        assert f"{path}: can't be read (" in refusal(digest, path)
