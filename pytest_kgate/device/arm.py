"""An arm, the common form of candidate and reference, and the errors that name whose call raised."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import traceback
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from typing import cast

import pytest_kgate
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import ProblemRaised
from pytest_kgate.errors import UsageError
from pytest_kgate.errors import by_problem
from pytest_kgate.errors import is_a
from pytest_kgate.errors import may_pass
from pytest_kgate.errors import traceback_of
from pytest_kgate.problems.attention.eight_bits.dequantised import OnDequantised
from pytest_kgate.problems.backward import Backward
from pytest_kgate.problems.trees.foreign import class_and_text
from pytest_kgate.problems.trees.foreign import shortened
from pytest_kgate.problems.trees.foreign import str_of
from pytest_kgate.problems.trees.parameters import demands
from pytest_kgate.problems.trees.parameters import parameter_names
from pytest_kgate.problems.trees.parameters import refuses
from pytest_kgate.system.clocks.deadline import called_by_deadlines
from pytest_kgate.system.clocks.signals import handled_signal

_PACKAGE = Path(pytest_kgate.__file__).parent

CALL_CONVENTION = "it is called as candidate(*inputs, **params), with `out` where it takes one"
"""How a candidate is called, for those whose call raised."""

WITHOUT_DOTS = (
    "Write its relative imports without the dots, with the folder of what they import on PYTHONPATH; or name it by its "
    'module, "package.module:function".'
)
"""What to do about a relative import of a file that is in no package."""


@dataclass(frozen=True)
class Arm:
    """One of the callables that are raced, in the form in which every timer calls it."""

    name: str
    """`candidate` or `reference`; `candidate 3` where several share the rounds."""

    call: Callable[..., Any]
    """`call(inputs, output)` enqueues (CUDA) or does (host) the work once and returns the output tensor.

    The result is a tensor or a tree of some; of an arm that works in place, an `InPlace`. `output` is built like what
    is returned and is to be written to; it is None where the arm allocates its own.
    """

    takes_output: bool
    """Whether `output` is wanted; the stopwatch then makes a new, poisoned one every round."""

    needs_output: bool = False
    """Whether it can't be called without: its parameter `out` has no default."""

    prepare: Callable[[Sequence[tuple[Any, ...]]], None] | None = None
    """What is to be done on these inputs, outside of what is timed, before calls on them, and whenever their values
    have changed: a forward pass. Calls on other inputs do it themselves."""

    ignored_params: Sequence[str] = ()
    """Params of the problem that the callable has no parameter for; of one whose signature tells nothing, those that it
    has refused so far."""


@dataclass(slots=True)
class InPlace:
    """The answer of an arm that works in place: what it returned, and the inputs that it is to change."""

    returned: Any
    """None where all that was returned is among the changed inputs."""
    changed: dict[int, Any]
    """By position. They are the inputs themselves: to be copied before anything else is written to them."""


def prepare(arms: Iterable[Arm], several: Sequence[tuple[Any, ...]]) -> None:
    """Let the arms do what they have to before calls on these inputs; with none, they let go of what they did."""
    for arm in arms:
        if arm.prepare is not None:
            arm.prepare(several)


def bind(role: str, function: Callable[..., Any], params: Mapping[str, Any], mutates: Sequence[int] = ()) -> Arm:
    """Make an arm of any callable, which changes the inputs at the positions of `mutates`.

    The problem's params are passed by keyword, those that the callable names. Where it takes `**kwargs`, what it hands
    them to is asked: a module's `forward`, what a partial or a compiled function wraps. Where that tells nothing, all
    are passed, and those that it refuses are not passed again. A parameter called `out` receives a tensor to write to.
    """
    if not callable(function):
        raise UsageError(
            f"The {role} is not callable: got {type(function).__name__}.",
            "Pass a function, or a kernel made by the `kernels` fixture.",
        )
    if isinstance(function, type) and "forward" in dir(function):
        raise (CandidateError if role == "candidate" else UsageError)(  # a program that writes candidates goes on
            f"The {role} is the class {function.__name__} itself, and no call of a class runs its `forward`.",
            "Pass an instance of it, a model with its weights; of a torch.autograd.Function, pass its `apply`.",
        )
    arm = _bound(role, function, params)
    # Of a candidate, a forward pass alone: what else it does beforehand would be work that is not timed.
    if isinstance(function, Backward) or (role == "reference" and isinstance(function, OnDequantised)):
        keywords = {name: value for name, value in params.items() if name not in arm.ignored_params}
        arm = dataclasses.replace(arm, prepare=lambda several: function.prepare(several, keywords))
    return dataclasses.replace(arm, call=_in_place(arm.call, tuple(mutates))) if mutates else arm


def _in_place(call: Callable[..., Any], mutates: tuple[int, ...]) -> Callable[..., Any]:
    """The call, with an `InPlace` as its result; a changed input that it returns as well is no answer of its own."""

    def changing(inputs: tuple[Any, ...], output: Any) -> Any:
        result = call(inputs, output)
        changed = {position: inputs[position] for position in mutates}
        return InPlace(None if result is None else _beside(result, changed), changed)

    return changing


def _beside(result: Any, changed: Mapping[int, Any]) -> Any:
    """What was returned, with None in place of each tensor of a changed input; None where nothing else was."""
    from pytest_kgate.problems.trees import structure  # here: they need PyTorch, which a fake device does without
    from pytest_kgate.problems.trees import tree

    if structure.computes(result) is not None:
        return result  # it is refused, and not to be read
    known = list(tree.tensors(tuple(changed.values())))
    kept = structure.mapped(result, lambda leaf: None if any(tree.is_same(leaf, one) for one in known) else leaf)
    return None if all(leaf is None for leaf in tree.leaves(kept)) else kept


def _bound(role: str, function: Callable[..., Any], params: Mapping[str, Any]) -> Arm:
    names = parameter_names(function)
    if names is None:
        return _offering(role, function, params)
    keywords = {name: value for name, value in params.items() if name in names}
    ignored = tuple(name for name in params if name not in names)
    takes_output = "out" in names

    if takes_output:

        def call(inputs: tuple[Any, ...], output: Any) -> Any:
            result = function(*inputs, out=output, **keywords)
            return output if result is None else result

    else:

        def call(inputs: tuple[Any, ...], output: Any) -> Any:
            return function(*inputs, **keywords)

    needs_output = takes_output and demands(function, "out")
    return Arm(role, call, takes_output, needs_output, ignored_params=ignored)


def _offering(role: str, function: Callable[..., Any], params: Mapping[str, Any]) -> Arm:
    """An arm of a callable whose signature does not say which params it takes: it is offered all of them."""
    keywords, refused = dict(params), list[str]()

    def call(inputs: tuple[Any, ...], output: Any) -> Any:
        try:
            return function(*inputs, **keywords)
        except (TypeError, RuntimeError) as error:  # TorchScript raises the latter
            found = [name for name in keywords if refuses(error, name)]
            if not found:
                raise
        for name in found:
            refused.append(name)
            del keywords[name]
        return call(inputs, output)

    return Arm(role, call, takes_output=False, ignored_params=refused)


def ends(error: BaseException) -> bool:
    """Whether this is to end the process or a generator, and is nobody's fault.

    A function that calls `sys.exit` is at fault; a handler of a signal, such as SIGTERM, that calls it is not. A
    `GeneratorExit` ends a generator, unless it came out of an arm's call, which is never one.
    """
    if is_a(error, GeneratorExit):
        return not raised_in_call(error)
    exits = is_a(error, SystemExit)
    return handled_signal(error) is not None if exits else is_a(error, KeyboardInterrupt)


@contextlib.contextmanager
def blame(
    whose: str, called: str, *, skips: bool = False, fault: type[CandidateError] = CandidateError
) -> Iterator[None]:
    """Whatever a user's function raises in the block becomes a `fault` that names it, its cause attached.

    `called` says how the function is called. A GPU's lack of memory passes: the device explains it. `skips`: whether
    this holds for pytest's outcomes too, such as a skip. A problem may skip, a candidate answers.
    """
    import torch  # not above: arms of a fake device need none of it

    try:
        with called_by_deadlines(whose) if fault is ProblemRaised else contextlib.nullcontext():
            yield
    except torch.OutOfMemoryError:
        raise
    except KgateError as error:
        if made_up(error):
            raise blamed(whose, called, error, fault) from error
        if is_a(error, CandidateError):
            raise
        raise fault(error.what, error.todo) from None  # of a kernel that does not take these inputs
    except BaseException as error:  # pytest's outcomes are no Exception
        if ends(error) or not (skips or is_a(error, (Exception, SystemExit))):
            by_problem(error)
            raise
        raise blamed(whose, called, error, fault) from error


def blame_problem(whose: str, called: str) -> contextlib.AbstractContextManager[None]:
    """As `blame`, for a function of the problem: what it raises is a `ProblemRaised`, and no candidate's fault."""
    return blame(whose, called, fault=ProblemRaised)


def blamed(
    whose: str, called: str, error: BaseException, fault: type[CandidateError] = CandidateError
) -> CandidateError:
    """A `fault` that says whose call raised what, and how it was called."""
    if refused := refused_memory(error):
        return fault(f"{whose} ran out of host memory: {refused}.", "Use a smaller shape, or allocate less.")
    if handled := handled_signal(error):
        what = f"{whose} was interrupted: the handler of {handled} raised {class_and_text(error)}."
        return fault(what, "The traceback follows. Where a limit of time did that, raise it, or lower the budget.")
    todo = WITHOUT_DOTS if of_relative_import(error) else f"The traceback follows; {called}."
    return fault(f"{whose} raised {class_and_text(error)}.", todo)


def error_of(error: BaseException) -> KgateError | None:
    """The package's own error for what came out of a `kbench` call's work; None where it is not for a record.

    What was raised within an arm's callable is blamed on that, also one of the package's errors.
    """
    if raised_in_call(error) and not ends(error) and (made_up(error) or not is_a(error, KgateError)):
        found = blamed("The candidate or the reference", CALL_CONVENTION, error)
        found.__cause__ = error
        return found
    return cast("KgateError", error) if is_a(error, KgateError) else None


def of_relative_import(error: BaseException) -> bool:
    """Whether this is how Python says that a relative import is of no package, or leads out of it."""
    return is_a(error, ImportError) and "attempted relative import" in str_of(error)


def refused_memory(error: BaseException) -> str | None:
    """How much memory the host refused, as a clause; None for any other error. PyTorch raises a RuntimeError."""
    refused = re.search(r"DefaultCPUAllocator: .*you tried to allocate (\d+) bytes", str_of(error))
    if refused:
        return f"{int(refused[1]) / 2**30:,.1f} GiB were asked for at once"
    return "more was asked for than there is" if is_a(error, MemoryError) else None


def raised_in_call(error: BaseException) -> bool:
    """Whether it came out of an arm's callable, or as an outcome of pytest's out of an answer."""
    if not is_a(error, (Exception, SystemExit, GeneratorExit)):
        return not may_pass(error) and handled_signal(error) is None
    codes = (frame.f_code for frame, _ in traceback.walk_tb(traceback_of(error)))
    return any(code.co_filename == __file__ and code.co_name == "call" for code in codes)


def made_up(error: BaseException) -> bool:
    """Whether this error of the plugin's was raised by code of a user's: it may blame whomever it likes."""
    *_, file = (frame.f_code.co_filename for frame, _ in traceback.walk_tb(traceback_of(error)))
    return is_a(error, KgateError) and not file.startswith(str(_PACKAGE))


def own_frames(cause: BaseException) -> str:
    """The text of an error's traceback, without the frames of the plugin itself."""
    others = (str(_PACKAGE), "<frozen importlib")
    frames = [frame for frame in traceback.extract_tb(traceback_of(cause)) if not frame.filename.startswith(others)]
    try:
        last = shortened("".join(traceback.format_exception_only(type(cause), cause)))
    except Exception:  # of a class whose `__notes__` or `__cause__` is code that raises
        last = class_and_text(cause)
    return "".join(["Traceback, without the plugin's own frames:\n", *traceback.format_list(frames), last]).rstrip()
