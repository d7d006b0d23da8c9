"""Files that are replaced as a whole: what is no regular file stays what it is."""

from __future__ import annotations

import os
import threading

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
