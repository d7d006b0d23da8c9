"""Candidates by name, such as `"generated.py:attention"`: described in this process, loaded in an isolated one.

Importing a module runs its code, and opening a shared library runs its constructors. So a candidate that is not trusted
is only named in the judging process, and imported or opened in its own.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable
from collections.abc import Collection
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any
from typing import NoReturn
from typing import TypeAlias

from pytest_kgate.device.arm import WITHOUT_DOTS
from pytest_kgate.device.arm import of_relative_import
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.trees.foreign import attribute
from pytest_kgate.problems.trees.foreign import class_and_text
from pytest_kgate.report.format import printable

if TYPE_CHECKING:
    from pytest_kgate.build.compiler.ninja import BuildResult
    from pytest_kgate.device.arm import Arm
    from pytest_kgate.problems.published.published import Published

_HOW = (
    'Write "path/to/file.py:function", "package.module:function", or a kernel\'s source, "file.cu"; in a test, a '
    'shipped kernel is made by kernels("name").'
)


@dataclass(frozen=True)
class CandidateFunction:
    """A candidate that is a function of a Python file, or of a module that can be imported."""

    where: str
    """An absolute path that ends in .py, or in .json for a solution of flashinfer-bench; or a module's dotted name."""
    function: str
    problem: Published | None = None
    """For a solution of a published problem, that: it makes the candidate of what the file defines."""

    @classmethod
    def parse(cls, text: str, folders: tuple[Path, ...]) -> CandidateFunction:
        """Parse `file.py:function` or `package.module:function`; a file is looked for in `folders`, in their order.

        Raises `UsageError` where the text has another form, or no folder has the file.
        """
        where, _, function = text.rpartition(":")
        of_file = where.endswith((".py", ".json"))
        is_module = where and not {":", "/"} & {*where}  # file.py::function is how pytest names a test
        if not function.isidentifier() or not (of_file or is_module):
            raise UsageError(f"The candidate {text!r} names no function.", _HOW)
        if not of_file:
            return cls(where, function)
        for folder in folders:
            if (folder / where).is_file():
                return cls(str((folder / where).resolve()), function)
        raise UsageError(f"There is no file {where} to take the candidate from.", _HOW)

    @property
    def name(self) -> str:
        """The name in records and tables."""
        return self.function

    @property
    def of_file(self) -> bool:
        """Whether it is named by its Python file."""
        return self.where.endswith(".py")

    def __call__(self, *_inputs: object, **_params: object) -> NoReturn:
        _refuse(self.name)

    def load(self) -> Callable[..., Any]:
        """Import its module in this process, and return it.

        Raises `CandidateError` where that can't be imported, or has no such function.
        """
        try:
            module = None if self.problem is None else self.problem.imported(self.where)
            module = _module(self.where) if module is None else module
        except KgateError:
            raise
        except (Exception, SystemExit) as error:
            raise CandidateError(
                f"{self.where} can't be imported: {class_and_text(error)}.", self._at_import(error)
            ) from error
        found = getattr(module, self.function, None)
        if not callable(found):
            raise CandidateError(*self._lacking())
        called: Callable[..., Any] = found
        return called if self.problem is None else self.problem.candidate(called)

    def _at_import(self, error: BaseException) -> str:
        """What to do where it can't be imported."""
        if isinstance(error, SyntaxError):
            return "Correct its syntax there."
        if isinstance(error, ModuleNotFoundError) and error.name:
            return f"Install what has {error.name}, or put it on PYTHONPATH."
        if not of_relative_import(error):
            return "Correct what it does when it is imported."
        if not self.of_file:
            return "Put the folder above its package on PYTHONPATH, and name the module from there."
        module = _as_module(Path(self.where)) if self.problem is None else None
        if module is None:
            return WITHOUT_DOTS
        folder, name = module
        return (
            f"A file that is named by its path is in no package: name it by its module, "
            f'"{name}:{self.function}", with {folder} on PYTHONPATH.'
        )

    def _lacking(self) -> tuple[str, str]:
        """What is said where the file has no such name; of a solution the user need not have given one."""
        if self.problem is None or self.function != self.problem.entry:
            return f"{self.where} has no function {self.function}.", "Check the candidate's name."
        return f"{self.where} does not define {self.function}.", f"A solution must define {self.problem.entry_is}."

    def to_dict(self) -> dict[str, Any]:
        """Built-in types, from which `load_named` makes the callable in another process."""
        problem = None if self.problem is None else [self.problem.kind, self.problem.to_message()]
        return {"where": self.where, "function": self.function, "problem": problem}


@dataclass(frozen=True)
class CandidateSource:
    """A candidate that is a compiled kernel, whose library is not opened in this process."""

    name: str
    implementation: str | None
    """A shipped implementation's name; None for a user's own source."""
    knobs: Mapping[str, int]
    device_kind: str
    build: BuildResult
    where: str
    """A shipped implementation's name, or the absolute path of a source."""
    arch: str | None
    debug: bool

    def __call__(self, *_inputs: object, **_params: object) -> NoReturn:
        _refuse(self.name)

    def to_dict(self) -> dict[str, Any]:
        """Built-in types, from which `load_named` makes the callable in another process."""
        return {"source": self.where, "knobs": dict(self.knobs), "arch": self.arch, "debug": self.debug}


TOLD_LISTS = ("ignored", "training")
"""Names of what is told as a list of texts."""

_MOST = 20
"""Texts of a list."""


@dataclass(frozen=True)
class Told:
    """What an isolated candidate's process says of it once it was called, for hints: nothing of it is trusted."""

    weights: str | None = None
    """Where the weights of a published problem's solution come from, as one clause."""
    ignored_params: tuple[str, ...] = ()
    """Params of the problem that it was called without."""
    takes_out: bool | None = None
    """Whether it takes a tensor to write to."""
    training: tuple[str, ...] = ()
    """The kinds of layers of a module that are in training mode, and do something else there."""

    @classmethod
    def of(cls, message: Mapping[str, Any], params: Collection[str]) -> Told:
        """Read what the candidate's process sent, which may be anything."""
        weights, out = message.get("weights"), message.get("out")
        ignored, training = (message.get(name) for name in TOLD_LISTS)
        return cls(
            weights=None if weights is None else printable(weights),
            ignored_params=tuple(name for name in params if isinstance(ignored, list) and name in ignored),
            takes_out={"True": True, "False": False}.get(str(out)),
            training=tuple(map(printable, training[:_MOST])) if isinstance(training, list) else (),
        )


def message_of(candidate: Callable[..., Any], arm: Arm) -> dict[str, Any]:
    """What the process sends, of a candidate that has been called."""
    from pytest_kgate.problems.trees.modules import trained_layers

    weights = attribute(candidate, "weights", str)
    texts = {} if weights is None else {"weights": weights}
    lists = dict(zip(TOLD_LISTS, (list(arm.ignored_params), trained_layers(candidate)), strict=True))
    return {**texts, **lists, "out": arm.takes_output}


NamedCandidate: TypeAlias = "CandidateFunction | CandidateSource"


def load_named(facts: Mapping[str, Any]) -> Callable[..., Any]:
    """Load the candidate of which `to_dict` gave these facts, in this process."""
    if "function" in facts:
        return CandidateFunction(facts["where"], facts["function"], _problem(facts["problem"])).load()
    from pytest_kgate.build.kernel import load_kernel

    return load_kernel(facts["source"], facts["knobs"], arch=facts["arch"], debug=facts["debug"])


def _problem(told: Sequence[Any] | None) -> Published | None:
    if told is None:
        return None
    from pytest_kgate.problems.published.published import made_of  # here, since few candidates need it

    return made_of(*told)


def _refuse(name: str) -> NoReturn:
    raise UsageError(
        f"{name} is isolated, and can't be called in the process that judges it.", "Hand it to kbench, or to nothing."
    )


def _as_module(file: Path) -> tuple[Path, str] | None:
    """From which folder, and by which dotted name, a file's relative imports work; None where no name will do.

    Its packages are as many folders as its own imports go up, and all that say of themselves that they are some.
    """
    try:
        imports = [node.level for node in ast.walk(ast.parse(file.read_bytes())) if isinstance(node, ast.ImportFrom)]
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
    marked = len(list(takewhile(lambda folder: (folder / "__init__.py").is_file(), file.parents)))
    count = max(1, marked, *imports)
    names = [*(folder.name for folder in reversed(file.parents[:count])), file.stem]
    if count >= len(file.parents) or any("." in name for name in names):
        return None
    return file.parents[count], ".".join(names)


def _module(where: str) -> Any:
    if not where.endswith(".py"):
        return importlib.import_module(where)
    name = Path(where).stem
    spec = importlib.util.spec_from_file_location(name, where)
    if spec is None or spec.loader is None:
        raise CandidateError(f"{where} can't be imported.", _HOW)
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(name, module)  # for what looks itself up, as dataclasses and pickle do
    spec.loader.exec_module(module)
    return module
