"""`kgate search` on a GPU: builds for its architecture, facts of the device, shared processes, champion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_kgate import cli
from pytest_kgate.search.journal.file import read

pytestmark = pytest.mark.gpu

TEST = """
import pytest
from pytest_kgate import Shape

@pytest.mark.search(
    macro={"BLOCK_M": [64, 128]}, micro={"PAD": [0, 8], "STAGES": [2, 9]}, where=["2 * 64 * 64 * 2 <= smem_bytes"]
)
@pytest.mark.allclose(2e-3)
@pytest.mark.speedup(5.0)
@pytest.mark.parametrize("shape", [Shape(1, 8, 128, 64), Shape(1, 8, 512, 64)], ids=str)
def test_mma(kbench, sdpa_oracle, kernels, knobs, shape):
    kbench(kernels("mma", HEAD_DIM=64, **knobs), sdpa_oracle(shape))
"""


def test_search_on_the_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test_mma.py").write_text(TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    monkeypatch.chdir(tmp_path)
    status = cli.main(["search", "test_mma.py::test_mma", "--strategy=grid", "--processes=3"])
    said = capfd.readouterr()
    assert status == 0, said
    outcomes = [event for event in read(tmp_path / "search.jsonl") if event["event"] == "outcome"]
    screened = {json.dumps(one["trials"][0]["knobs"]): one["trials"][0] for one in outcomes if len(one["ids"]) == 1}
    states = [trial["state"] for trial in screened.values()]
    assert (states.count("raced"), states.count("unbuildable"), len(states)) == (4, 4, 8)
    raced = next(trial for trial in screened.values() if trial["state"] == "raced")
    assert raced["resources"]["registers"] > 0
    assert len(raced["estimates"]) == 2
    together = next(one["trials"] for one in outcomes if len(one["ids"]) > 1)
    assert [trial["state"] for trial in together] == ["raced"] * len(together)
    (champion,) = json.loads((tmp_path / "kgate-champions.json").read_text())["champions"]
    assert champion["source"] == "mma"
    assert champion["device"].startswith("sm_")
    assert len(champion["shapes"]) == 2
