"""A KernelBench problem's file: what it defines, and the hash of what was read."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import reprlib
import sys
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import Literal

import torch

from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import ProblemRaised
from pytest_kgate.errors import UsageError
from pytest_kgate.problems.published.seeding import seeded
from pytest_kgate.problems.trees.foreign import attribute
from pytest_kgate.problems.trees.foreign import class_and_text
from pytest_kgate.problems.trees.foreign import str_of

NAMES = ("Model", "get_inputs", "get_init_inputs")
"""What the file of a problem defines."""

SOLUTION = "ModelNew"
"""What the file of a solution defines: a class that is constructed and called like `Model`."""


@dataclass(frozen=True)
class Source:
    """What a problem's file defines."""

    path: Path
    sha256: str
    """Of the file, as hexadecimal digits."""
    model: Callable[..., Any]
    """The class `Model`."""
    get_inputs: Callable[[], Any]
    get_init_inputs: Callable[[], Any]

    @classmethod
    def read(cls, path: Path) -> Source:
        """Import the file; raises `UsageError` where it can't be, or where it is no problem's."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UsageError(f"{path} can't be read: {error.strerror}.", "Give the file of a problem.") from None
        module = _imported(path)
        missing = [name for name in NAMES if not callable(getattr(module, name, None))]
        if missing:
            raise UsageError(
                f"{path} is no KernelBench problem: it does not define {', '.join(missing)}.",
                "Such a file has a class Model and the functions get_inputs() and get_init_inputs().",
            )
        return cls(path, hashlib.sha256(content).hexdigest(), *(getattr(module, name) for name in NAMES))

    def construct(self, model: Callable[..., Any], seed: int, device: torch.device) -> Any:
        """An instance of `model`, a class like `Model`, whose weights are drawn on the device from this seed.

        It stays in training mode, as published: batch norm normalises by the batch at hand.
        """
        arguments = self.called("get_init_inputs", seed, device)
        if not isinstance(arguments, (list, tuple)):
            raise UsageError(
                f"get_init_inputs() of {self.path} returned {type(arguments).__name__}, not a list.",
                "It returns the arguments of Model, by position.",
            )
        with seeded(seed, device), torch.no_grad(), self._named(model, arguments):
            made = model(*arguments)
            return made.to(device) if isinstance(made, torch.nn.Module) else made

    def called(self, name: Literal["get_inputs", "get_init_inputs"], seed: int, device: torch.device) -> Any:
        """What this function of the file returns after the seed; raises `ProblemRaised` naming the file if it fails."""
        function = self.get_inputs if name == "get_inputs" else self.get_init_inputs
        try:
            with seeded(seed, device):
                return function()
        except (Exception, SystemExit) as error:
            if _is_of_memory(error):
                raise
            raise ProblemRaised(
                f"{name}() of {self.path} raised {class_and_text(error)}.",
                f"The traceback follows; it is called without arguments, and new tensors are made on {device}.",
            ) from error

    @contextlib.contextmanager
    def _named(self, model: Callable[..., Any], arguments: Sequence[Any]) -> Iterator[None]:
        """What a constructor raises in the block is told as such, of whose class it is."""
        own = model is self.model
        whose = f"Model of {self.path}" if own else attribute(model, "__name__", str) or SOLUTION
        fault = ProblemRaised if own else CandidateError
        try:
            yield
        except (Exception, SystemExit) as error:
            if _is_of_memory(error):
                raise
            raise fault(
                f"{whose} can't be constructed: it raised {class_and_text(error)}.",
                f"The traceback follows; it is called as {'Model' if own else SOLUTION}(*get_init_inputs()), and "
                f"get_init_inputs() returned {reprlib.repr(list(arguments))}.",
            ) from error


def _is_of_memory(error: BaseException) -> bool:
    """Whether it is to pass as it is: who calls explains a lack of memory."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "DefaultCPUAllocator" in str_of(error)


def _imported(path: Path) -> Any:
    name = f"kernelbench_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python file.", "Give the file of a KernelBench problem.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # for what looks itself up, as dataclasses and pickle do
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"{path} can't be imported: {class_and_text(error)}.", "Install what it needs, or correct it."
        ) from error
    return module
