"""How a `kbench` call ends for pytest: passed, failed, skipped or warned of, and what the user is told."""

from __future__ import annotations

import inspect
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import NoReturn

import pytest

import pytest_kgate
from pytest_kgate.errors import CandidateError
from pytest_kgate.errors import KgateError
from pytest_kgate.errors import may_pass
from pytest_kgate.errors import traceback_of

if TYPE_CHECKING:
    from _pytest.outcomes import Failed as _Failed

    from pytest_kgate.bench.request import Outcome
    from pytest_kgate.evaluation.options.options import Options
    from pytest_kgate.report.record.record import Record
else:
    _Failed = pytest.fail.Exception


class Failure(_Failed):
    """A failure whose message is all there is to see: no traceback, and only its first line in a summary."""

    __module__ = "builtins"  # as pytest's own: leaves more of the message in the short summary

    def __init__(self, text: str) -> None:
        super().__init__(msg=text, pytrace=False)

    @property
    def headline(self) -> str:
        """The first line."""
        return f"{type(self).__name__}: {(self.msg or '').partition(chr(10))[0]}"


class GateFailure(Failure):
    """A gate was not met; `record` is the account of it, the first of `records` where several calls have failed."""

    def __init__(self, text: str, record: Record, *others: Record) -> None:
        super().__init__(text)
        self.record = record
        self.records = (record, *others)

    @property
    def headline(self) -> str:
        """The first line with what was measured, for reports of CI that have no more than that."""
        from pytest_kgate.report.ci.headline import figures  # here, since every session of pytest would pay

        return "; ".join(part for part in (super().headline, *map(figures, self.records)) if part)


class GateWarning(UserWarning):
    """A race ended undecided, under `--kgate-inconclusive warn`."""


def report_outcome(outcome: Outcome, options: Options) -> None:
    """Pass, fail, skip or warn, as the record's verdict and the test's options say."""
    from pytest_kgate.report.record.verdicts import reported  # here, since every session of pytest would pay

    __tracebackhide__ = True
    record = outcome.record
    told = reported(record, options)
    if told == "passed":
        return
    if told == "skipped":
        pytest.skip(f"{record['verdict']}: {record['reason']}")
    if told == "warned":
        # Of the test that called kbench, which called its `_held`.
        warnings.warn(GateWarning(f"{record['verdict']}: {record['reason']}"), stacklevel=4)
        return
    from pytest_kgate.report.format import no_commands
    from pytest_kgate.report.format import visible
    from pytest_kgate.report.text.failure import failure_text

    text = failure_text(record)
    if outcome.cause is not None:
        from pytest_kgate.device.arm import own_frames  # here, since every session of pytest would pay for it

        text += "\n\n" + own_frames(outcome.cause)
    # What a candidate says may turn a terminal's text about, or be taken for a command by CI.
    raise GateFailure(no_commands(visible(text, lines=True)), record) from None


def together(held: Sequence[BaseException], calls: int) -> BaseException:
    """What the failures and skips of a test's `kbench` calls come to: one failure that tells of all, or the first skip.

    `held` are those that `kbench.soft` held back, and what ended the test; `calls` is how many calls there were.
    """
    failures = [one for one in held if isinstance(one, GateFailure)]
    if len(failures) < 2:
        return failures[0] if failures else held[0]
    first = f"{len(failures)} of {calls} kbench calls have failed"
    return GateFailure("\n\n".join([first, *(one.msg or "" for one in failures)]), *(one.record for one in failures))


def fail(error: KgateError) -> NoReturn:
    """Fail the test with the error's two sentences."""
    __tracebackhide__ = True
    raise Failure(f"{error.what}\n{error.todo}".rstrip()) from None


def raised_by_candidate(outcome: BaseException) -> CandidateError | None:
    """What to say where code of the candidate raised this outcome of pytest's: a test is not the candidate's to skip.

    None where the plugin has raised it, for want of a tool say, or a function of the problem. All else that runs in a
    call of `kbench` is the candidate's, as where its object is asked for an attribute.
    """
    pytest_s = Path(inspect.getfile(pytest.skip.Exception.__init__))
    raised = [Path(frame.filename) for frame in traceback.extract_tb(traceback_of(outcome))]
    last = next((path for path in reversed(raised) if path != pytest_s), pytest_s)
    if may_pass(outcome) or Path(pytest_kgate.__file__).parent in last.parents:
        return None
    from pytest_kgate.problems.trees.foreign import class_and_text  # here, since every session of pytest would pay

    error = CandidateError(f"The candidate raised {class_and_text(outcome)}.", "Let it answer, or raise an error.")
    error.__cause__ = outcome
    return error
