"""A solution of flashinfer-bench: a JSON file with sources, and the function in them that is called.

The format is that of docs/flashinfer-trace/solution.mdx in github.com/flashinfer-ai/flashinfer-bench.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pathlib import PurePosixPath
from typing import Any

from pytest_kgate.errors import CandidateError
from pytest_kgate.problems.published.checked import Checked
from pytest_kgate.problems.published.checked import json_of
from pytest_kgate.problems.published.modules import Modules
from pytest_kgate.problems.trees.foreign import class_and_text

_LANGUAGES = ("python", "triton")
"""Those whose entry point is a function of Python."""


@dataclass(frozen=True)
class Solution:
    """What a solution's file says."""

    name: str
    definition: str
    """The name of the definition that it solves."""
    file: str
    """The source that has the function."""
    function: str
    destinations: bool
    """Whether the outputs are handed in behind the inputs."""
    sources: tuple[tuple[str, str], ...]
    """Relative paths and contents."""

    @classmethod
    def read(cls, path: Path) -> Solution:
        """Raises `UsageError` where it is no solution, `CandidateError` where it is one that can't be called here."""
        data = json_of(path, "Give the file of a solution.")
        said = Checked(data, str(path), "flashinfer-bench solution")
        said.demand("name", "definition", "spec", "sources")
        spec = Checked(said.data["spec"], f"spec of {path}", "flashinfer-bench solution")
        spec.demand("language", "entry_point")
        language = spec.text("language")
        if language not in _LANGUAGES:
            raise CandidateError(
                f"The solution {said.text('name')} is written in {language}, which is not built here.",
                "Give a solution in python or triton: one that builds its kernels by "
                "torch.utils.cpp_extension.load_inline, say.",
            )
        file, _, function = spec.text("entry_point").partition("::")
        sources = tuple(_source(one, path) for one in said.optional("sources", list, []))
        if file not in dict(sources) or not function.isidentifier():
            raise said.wrong(
                f'its entry point "{spec.text("entry_point")}" is in none of its sources', 'It is "main.py::run".'
            )
        destinations = spec.optional("destination_passing_style", bool, True)
        return cls(said.text("name"), said.text("definition"), file, function, destinations, sources)

    def load(self) -> Callable[..., Any]:
        """Write the sources to a folder of this process, and import the function from there."""
        folder = Path(tempfile.mkdtemp(prefix="kgate-solution-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        for name, content in self.sources:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        beside = (folder / self.file).parent
        modules = Modules({path.stem: path for path in beside.glob("*.py")})
        try:
            module = modules.module(PurePosixPath(self.file).stem)
        except (Exception, SystemExit) as error:
            raise CandidateError(
                f"The solution {self.name} can't be imported: {class_and_text(error)}.",
                "Install what it needs, or correct it.",
            ) from error
        found = getattr(module, self.function, None)
        if not callable(found):
            raise CandidateError(
                f"The solution {self.name} has no function {self.function} in {self.file}.", "Check its entry point."
            )
        called: Callable[..., Any] = found
        return called


def _source(one: Any, path: Path) -> tuple[str, str]:
    said = Checked(one, f"A source of {path}", "flashinfer-bench solution")
    said.demand("path", "content")
    name = PurePosixPath(said.text("path"))
    if name.is_absolute() or ".." in name.parts:
        raise said.wrong(f'its path is "{name}"', "It is relative, and stays within the solution.")
    return str(name), said.text("content")
