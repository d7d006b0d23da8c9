"""A task folder, written anew for each test."""

from __future__ import annotations

import pytest
from published_samples import TASK
from published_samples import TWICE
from published_samples import UTILS
from published_samples import YML


@pytest.fixture
def folder(tmp_path):
    def write(reference=TWICE, yml=YML, name="twice_py"):
        inside = tmp_path / name
        inside.mkdir(exist_ok=True)
        (tmp_path / "utils.py").write_text(UTILS)
        (inside / "task.yml").write_text(yml)
        (inside / "task.py").write_text(TASK)
        (inside / "reference.py").write_text(reference)
        return inside

    return write
