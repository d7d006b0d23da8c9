"""In the session that `kgate watch` forks: which modules the test has imported, so that they are watched, too."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pytest_kgate.system.provenance.installed import is_users


class ModulesNoted:
    """A pytest plugin that writes the files of the user's own modules, once collected and once more at the end."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def pytest_collection_finish(self) -> None:
        """What the test's module and the conftest files import; no crash of a candidate takes that away."""
        self._write()

    def pytest_unconfigure(self) -> None:
        """Note what the test itself has imported."""
        self._write()

    def read(self) -> list[Path]:
        """In the process that has forked it; nothing where the session did not come to its tests."""
        return [Path(name) for name in json.loads(self._file.read_text())] if self._file.is_file() else []

    def _write(self) -> None:
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps([str(path) for path in _modules()]))
        part.replace(self._file)


def _modules() -> list[Path]:
    """The files of all imported modules that are neither installed nor the plugin's own."""
    names = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return [
        Path(name).absolute() for name in names if isinstance(name, str) and name.endswith(".py") and is_users(name)
    ]
