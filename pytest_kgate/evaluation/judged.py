"""The record that `evaluate` returns: a dict as all records are, which knows whether the candidate has passed."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.report.record.verdicts import VERDICTS

if TYPE_CHECKING:
    from pytest_kgate.report.record.record import Record


class Judged(dict[str, Any]):
    """The account of one call, with the keys of `pytest_kgate.Record`: built-in types, which `json` writes as they are.

    Raises nothing: what a candidate does wrong stands in `verdict` and `reason`.
    """

    def __init__(self, record: Record) -> None:
        super().__init__(record)

    @property
    def passed(self) -> bool:
        """Whether all that was demanded holds."""
        return VERDICTS[self["verdict"]].passes
