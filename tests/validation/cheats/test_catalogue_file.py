"""The file of what became of each cheat, and the table that is made from it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pytest_kgate.validation.cheats import file


def test_page_shows_the_committed_run():
    root = Path(__file__).parents[3]
    page = (root / "docs" / "integrity.md").read_text()
    assert file.table(file.load(root / "benchmarks" / "integrity.json")).strip() in page
    assert all((root / "docs" / link).exists() for link in re.findall(r"\]\((\.\./[^)#]+)\)", page))


def attempts(device, **verdicts):
    return [
        {
            "cheat": name,
            "device": device,
            "caught": verdict != "PASS",
            "verdict": verdict,
            "checks": [],
            "reason": "x",
            "status": int(verdict != "PASS"),
        }
        for name, verdict in verdicts.items()
    ]


def test_table_has_a_column_a_device_and_names_what_got_through():
    content = {
        "settings": {"host": {"name": "A CPU"}, "cuda": {"name": "A GPU"}},
        "attempts": [*attempts("host", stale_memory="PASS", plain="INVALID"), *attempts("cuda", stale_memory="WRONG")],
    }
    text = file.table(content)
    assert "| on A GPU | on A CPU |" in text
    assert "| caught: WRONG | **not caught** |" in text
    assert len(file.surprises(content, "host")) == 2
    assert file.surprises(content, "cuda") == []


def test_slow_or_noisy_machine_is_no_surprise():
    content = {"settings": {"host": {}}, "attempts": attempts("host", plain="INCONCLUSIVE", predicts_seed="FAIL")}
    assert file.surprises(content, "host") == []


def test_session_that_breaks_is_no_catch():
    content = {"settings": {"host": {}}, "attempts": attempts("host", stale_memory=None)}
    assert file.surprises(content, "host") == ["stale_memory on host ended without a verdict: x"]


def test_second_device_is_kept_beside_the_first(tmp_path):
    from pytest_kgate.validation.cheats.attempt import Attempt

    def attempt(device):
        return Attempt("plain", device, False, "PASS", (), "", 0, 1.0)

    first = file.document([attempt("host")], "host", {"name": "A CPU"}, None)
    both = file.document([attempt("cuda")], "cuda", {"name": "A GPU"}, first)
    file.save(both, tmp_path / "file.json")
    assert [one["device"] for one in file.load(tmp_path / "file.json")["attempts"]] == ["host", "cuda"]


def test_file_of_something_else_is_refused(tmp_path):
    from pytest_kgate.errors import UsageError

    (tmp_path / "file.json").write_text(json.dumps({"schema": "other"}))
    with pytest.raises(UsageError, match="holds no run of the catalogue"):
        file.load(tmp_path / "file.json")
