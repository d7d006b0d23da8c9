"""Files that are replaced as a whole: what is no regular file stays what it is."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.system import json_file


def test_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    json_file.save(pipe, "{}")
    reader.join(10)
    assert (read, pipe.is_fifo()) == (["{}"], True)


def test_link_stays_one_and_its_target_is_replaced(tmp_path):
    (tmp_path / "target.json").write_text("old")
    link = tmp_path / "link.json"
    link.symlink_to("target.json")
    json_file.save(link, "{}")
    assert (link.is_symlink(), (tmp_path / "target.json").read_text()) == (True, "{}")


def test_file_that_can_not_be_written_whole_stays_as_it_was(tmp_path, monkeypatch):
    place = tmp_path / "mine.json"
    place.write_text("old")
    place.chmod(0o600)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(UsageError, match=r"mine\.json can't be written: No space left on device"):
            json_file.save(place, "{}")
    assert (place.read_text(), [*tmp_path.iterdir()]) == ("old", [place])
    json_file.save(place, "{}")
    assert (place.read_text(), place.stat().st_mode & 0o777) == ("{}", 0o600)
