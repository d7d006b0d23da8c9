"""The records of several jobs become one comment, by a Python that has nothing installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sample_records import speed_record

from pytest_kgate.report.record.document import document

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("jobs", "result", "said"),
    [
        ([0.8, 0.7], "success", "kgate: all 2 gates pass"),
        ([0.8, 1.2], "failure", "kgate: 1 of 2 gates does not pass"),
        ([], "failure", "kgate: nothing was judged, but pytest failed"),
        ([0.8], "damaged", "❌ kgate: the gate passes, and records could not be read\n\n- "),
    ],
)
def test_one_comment_tells_of_all_jobs(tmp_path: Path, jobs: list[float], result: str, said: str) -> None:
    if result == "damaged":
        (tmp_path / "measured" / "kgate-9").mkdir(parents=True)
        (tmp_path / "measured" / "kgate-9" / "records.json").write_text("[")
    for number, ratio in enumerate(jobs):
        folder = tmp_path / "measured" / f"kgate-{number}"
        folder.mkdir(parents=True)
        record = speed_record(f"test_a.py::test_b[{number}]", ratio=ratio)
        (folder / "records.json").write_text(json.dumps(document([record])))
    program = tmp_path / "python3"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    program.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "RESULT": result.replace("damaged", "success")}
    command = [ROOT / ".ci" / "tell", tmp_path / "measured", tmp_path / "told"]
    status = subprocess.run(command, env=environment, timeout=60).returncode
    assert status == (2 if result == "damaged" else 0)
    assert said in (tmp_path / "told" / "comment.md").read_text()
