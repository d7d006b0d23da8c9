from __future__ import annotations

from pathlib import Path

import pytest
from receipts import Project


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Project:
    made = Project.make(tmp_path, capsys)
    monkeypatch.chdir(made.root)
    return made
