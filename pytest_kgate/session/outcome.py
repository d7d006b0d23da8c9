"""How a `kbench` call ends for pytest: passed, failed, skipped or warned of, and what the user is told."""

from __future__ import annotations

import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING
from typing import NoReturn

import pytest

import pytest_kgate
from pytest_kgate.errors import KgateError

if TYPE_CHECKING:
    from _pytest.outcomes import Failed as _Failed

    from pytest_kgate.bench.request import Outcome
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
    """A gate was not met; `record` is the account of it."""

    def __init__(self, text: str, record: Record) -> None:
        super().__init__(text)
        self.record = record


class GateWarning(UserWarning):
    """A race ended undecided, under `--kgate-inconclusive warn`."""


def settle(outcome: Outcome, inconclusive: str) -> None:
    """Pass, fail, skip or warn, as the record's verdict and --kgate-inconclusive say."""
    __tracebackhide__ = True
    record = outcome.record
    if record["verdict"] in ("PASS", "MEASURED"):
        return
    from pytest_kgate.report.text.failure import failure_text

    text = failure_text(record)
    if record["verdict"] == "INCONCLUSIVE" and inconclusive != "fail":
        if inconclusive == "skip":
            pytest.skip(f"INCONCLUSIVE: {record['reason']}")
        warnings.warn(GateWarning(f"INCONCLUSIVE: {record['reason']}"), stacklevel=3)
        return
    if outcome.cause is not None:
        text += "\n\n" + own_frames(outcome.cause)
    raise GateFailure(text, record) from None


def own_frames(cause: BaseException) -> str:
    """The traceback without the frames of the plugin itself."""
    here = str(Path(pytest_kgate.__file__).parent)
    frames = [frame for frame in traceback.extract_tb(cause.__traceback__) if not frame.filename.startswith(here)]
    return "".join(
        ["Traceback, without the plugin's own frames:\n", *traceback.format_list(frames), *_last_line(cause)]
    ).rstrip()


def _last_line(cause: BaseException) -> list[str]:
    return traceback.format_exception_only(type(cause), cause)


def fail(error: KgateError) -> NoReturn:
    """Fail the test with the error's two sentences."""
    __tracebackhide__ = True
    raise Failure(f"{error.what}\n{error.todo}".rstrip()) from None
