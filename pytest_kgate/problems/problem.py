"""What a candidate is asked to compute: inputs, the reference to race against, the exact answer."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.errors import real
from pytest_kgate.errors import shown
from pytest_kgate.errors import whole
from pytest_kgate.problems.rounding.dtypes import dtype_name
from pytest_kgate.problems.rounding.dtypes import is_dtype
from pytest_kgate.problems.rounding.tolerances import Tolerance
from pytest_kgate.problems.rounding.tolerances import read_tolerances

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Generator

    from pytest_kgate.problems.published.published import Published
    from pytest_kgate.problems.shape import Shape

__tracebackhide__ = True
"""A wrong argument is then shown at the line that made the problem, not inside the dataclass."""

_LARGEST_SEED = 2**128 - 1
"""Records have seeds of so many bits."""


@dataclass(frozen=True)
class Problem:
    """One workload, for any operator.

    `Problem(name="relu", inputs=lambda g: (torch.randn(4096, generator=g, device=g.device),), reference=torch.relu,
    exact=lambda x: torch.relu(x.double()))` is complete; everything else refines the check or the report.
    """

    name: str
    """Shown in tables and records; say the operator, the shape and the dtype."""

    inputs: Callable[[Generator], Any]
    """Draws fresh inputs from the generator, on the generator's device: a tuple of arguments. Random values, never
    zeros. An argument is a tensor, a number, a string, None, or a tuple, list, dict or dataclass of some."""

    reference: Callable[..., Any] | Mapping[str, Callable[..., Any]]
    """What the candidate must beat. Of several, named, the fastest on the device is raced against. It returns a tensor,
    or a tuple, list, dict or dataclass of some, and a candidate returns the same."""

    exact: Callable[..., Any]
    """The answer in float64, same arguments as the reference. Of several outputs, all, in the reference's order;
    integer outputs in integers. Behind what is returned come the new values of inputs that are changed in place."""

    hard_inputs: Callable[[Generator], Any] | None = None
    """Inputs of the same shapes on which wrong kernels show: sharp logits, for attention."""

    mutates: tuple[int, ...] = ()
    """Positions of the inputs that a call changes in place: `(0, 2)`. They are restored outside the timed intervals,
    and their new values are checked as outputs `input 0` and `input 2`. All others must stay as they are."""

    tolerance: Mapping[str, Tolerance] = field(default_factory=lambda: MappingProxyType({}))
    """Tolerances of single outputs, by name (`output 1`, `output lse`, `input 0`) or by the output's dtype
    (`float16`). They go before `allclose`, which holds for the other outputs."""

    mutants: Mapping[str, Callable[..., Any]] = field(default_factory=lambda: MappingProxyType({}))
    """Wrong kernels by what is wrong with them, called like the reference: `kgate selftest` asks whether the check
    finds them, besides those that it makes for any operator."""

    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Constants handed to the reference and the exact answer by keyword, and to the candidate where it takes them."""

    flops: float | None = None
    """Floating-point operations of one call."""

    bytes: float | None = None
    """Bytes of one call that must cross device memory: each input read once, each output written once."""

    shape: Shape | None = None
    """For attention: its extents."""

    dtype: str | None = None
    """The inputs' element type, as torch names it: `float16`."""

    seed: int | None = None
    """Draws start from this seed instead of the session's."""

    equal: Callable[..., Any] | None = None
    """Where several answers are right, `equal(answer, exact, *inputs)` says whether one is, in place of the comparison
    with `exact`: True or False, a tensor of bools by element, or a string that says what is wrong. `pytest_kgate.equal`
    has some: `ties` (argmax, topk), `unordered`, `dropout`."""

    rows: Sequence[int] | None = None
    """Positions of the inputs that go row by row with the answer: `exact(x[a:b], w)` is `exact(x, w)[a:b]`, along the
    answer's first axis of more than one index. Large exact answers are then computed in pieces; () says that this
    can't be done, None leaves it to a trial on a few rows."""

    small: Problem | None = None
    """A smaller one that takes the same paths, for runs that are hundreds of times slower: compute-sanitizer's."""

    published: Published | None = None
    """The files of another project that this was read from: what makes candidates of its solutions."""

    def __post_init__(self) -> None:
        """Raise `UsageError` for a field that makes no sense: here, where the user's own line is all that is shown.

        Numbers, positions and dtypes are kept in plain types, which records and other processes can hold.
        """
        try:
            plain = self._plain()
        except UsageError as error:
            raise error.with_traceback(None) from None
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def _plain(self) -> dict[str, Any]:
        """The fields that may be written in several types; raises `UsageError` where any field makes no sense."""
        if not isinstance(self.name, str):
            raise _refused("name", self.name, "a string: say the operator, the shape and the dtype")
        for role, optional in (("inputs", False), ("hard_inputs", True), ("exact", False), ("equal", True)):
            function = getattr(self, role)
            if not callable(function) and not (optional and function is None):
                raise _refused(role, function, "a function" + (", or None" if optional else ""))
        if not callable(self.reference) and not (self.reference and _are_functions(self.reference)):
            raise _refused("reference", self.reference, "a function, or a dict of at least one by its name")
        if not _are_functions(self.mutants):
            raise _refused("mutants", self.mutants, "a dict of functions by what is wrong with them")
        if not isinstance(self.params, Mapping) or not all(isinstance(name, str) for name in self.params):
            raise _refused("params", self.params, 'a dict of constants by name, such as {"eps": 1e-5}')
        if self.small is not None and not isinstance(self.small, Problem):
            raise _refused("small", self.small, "another Problem, or None")
        seed = None if self.seed is None else whole(self.seed)
        if self.seed is not None and (seed is None or not 0 <= seed <= _LARGEST_SEED):
            raise _refused("seed", self.seed, "a whole number, 0 or more, of at most 128 bits, or None")
        if self.shape is not None and not hasattr(self.shape, "head_dim"):
            raise _refused("shape", self.shape, "a pytest_kgate.Shape, of attention, or None")
        if self.dtype is not None and not (isinstance(self.dtype, str) or is_dtype(self.dtype)):
            raise _refused("dtype", self.dtype, 'the name of the inputs\' element type, such as "float16", or None')
        return {
            "mutates": _positions("mutates", self.mutates),
            "rows": None if self.rows is None else _positions("rows", self.rows),
            "tolerance": read_tolerances(self.tolerance),
            "flops": _amount("flops", self.flops),
            "bytes": _amount("bytes", self.bytes),
            "dtype": None if self.dtype is None else dtype_name(self.dtype),
            "seed": seed,
        }

    def called(self, candidate: Callable[..., Any]) -> Callable[..., Any]:
        """The candidate as the inputs can be handed to it: of a published problem, as its project calls solutions."""
        return candidate if self.published is None else self.published.adapted(candidate)

    def backward(self) -> Problem:
        """The problem of this one's backward pass: its inputs, then the gradient of its output; a tuple of several.

        The answer is the gradient of every input that is not of integers, in order; it is compared with float64
        autograd of `exact`. The forward passes of the reference, and of a candidate `Backward(function)`, are not
        timed; any other candidate is called with those inputs. Raises `UsageError` where calls work in place.
        """
        from pytest_kgate.problems.backward import backward_parts  # here: it is seldom wanted

        if self.mutates:
            raise UsageError(
                f"{self.name} works in place, and has no backward pass.",
                "Make a problem of the function that returns its results.",
            )
        parts = backward_parts(self.inputs, self.hard_inputs, self.reference, self.exact, self.params)
        return Problem(
            name=f"{self.name} backward",
            params=self.params,
            dtype=self.dtype,
            seed=self.seed,
            small=None if self.small is None else self.small.backward(),
            **parts,
        )

    @classmethod
    def from_kernelbench(cls, file: str | Path, *, name: str | None = None, seed: int | None = None) -> Problem:
        """The problem of a KernelBench file, with its class `Model` as the reference.

        Its candidates are solutions, given by name: `kbench("new.py:ModelNew", problem)`. Raises `UsageError` where the
        file can't be imported, or defines no such problem.
        """
        from pytest_kgate.problems.published.kernelbench.kernelbench import (
            KernelBench,  # here, since it imports PyTorch
        )

        return cls._published(KernelBench(file), name, seed)

    @classmethod
    def from_flashinfer_bench(
        cls,
        definition: str | Path | Mapping[str, Any],
        workload: str | Path | Mapping[str, Any],
        case: int | str = 0,
        *,
        root: str | Path | None = None,
        name: str | None = None,
        seed: int | None = None,
    ) -> Problem:
        """The problem of a definition of flashinfer-bench with one of its workloads, its reference as the reference.

        Both are files, or what `json` made of them. Of a file of workloads `case` says which: its place from 0, or the
        beginning of its uuid. `root` is the folder that the paths of recorded inputs start from; by default the one
        that has the folder `workloads`. Candidates are functions that return the outputs, or take them behind the
        inputs, and solutions, given by name: `kbench("solution.json", problem)`. Raises `UsageError` where a file makes
        no sense, or the two do not fit.
        """
        from pytest_kgate.problems.published.flashinfer_bench.flashinfer_bench import (
            FlashInferBench,  # here, since it imports PyTorch
        )

        return cls._published(FlashInferBench.read(definition, workload, case, root), name, seed)

    @classmethod
    def from_task_folder(
        cls,
        folder: str | Path,
        case: str | Mapping[str, Any] = "benchmarks:0",
        *,
        in_place: bool = False,
        name: str | None = None,
        seed: int | None = None,
    ) -> Problem:
        """The problem of a task folder of gpu-mode/reference-kernels, its `ref_kernel` as the reference.

        `case` is a list of task.yml and a place in it from 0, such as `tests:2`, or the arguments of `generate_input`
        themselves. `in_place` says that kernels change their data, besides outputs that are handed in with it.
        Candidates are submissions: `kbench("submission.py:custom_kernel", problem)`. Raises `UsageError` where the
        folder is no task, or has no such case.
        """
        from pytest_kgate.problems.published.task_folder.task_folder import TaskFolder  # here, since it imports PyTorch

        made = cls._published(TaskFolder(folder, case, in_place=in_place), name, seed)
        return replace(made, mutates=(0,)) if in_place else made

    @classmethod
    def _published(cls, read: Published, name: str | None, seed: int | None) -> Problem:
        return cls(
            name=name or read.name,
            inputs=read.inputs,
            hard_inputs=read.hard_inputs,
            reference=read.reference,
            exact=read.exact,
            tolerance=read.tolerance,
            equal=read.equal,
            seed=seed,
            published=read,
        )


def _refused(name: str, value: object, wanted: str) -> UsageError:
    return UsageError(f"Problem({name}=...) cannot be {shown(value)}.", f"It takes {wanted}.")


def _are_functions(value: object) -> bool:
    if not isinstance(value, Mapping):
        return False
    return all(isinstance(name, str) and callable(one) for name, one in value.items())


def _positions(name: str, given: object) -> tuple[int, ...]:
    """Places of inputs, each once."""
    several = isinstance(given, Sequence) and not isinstance(given, (str, bytes))
    found = [whole(one) for one in given] if several else [None]  # type: ignore[attr-defined]
    places = tuple(one for one in found if one is not None and one >= 0)
    if len(places) != len(found) or len(set(places)) != len(places):
        raise _refused(name, given, "a tuple of positions of the inputs, from 0 and each once: (0,) is the first")
    return places


def _amount(name: str, given: float | None) -> float | None:
    """A number of operations or bytes, as it was written where that is a number of Python's own."""
    if given is not None and not 0 <= real(given) < float("inf"):
        raise _refused(name, given, "a finite number, 0 or more, or None")
    return given if given is None or type(given) in (int, float) else real(given)
