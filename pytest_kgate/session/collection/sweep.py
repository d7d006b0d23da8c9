"""`--kgate-sweep`, `--kgate-joint`: tests that have kernels or knobs run once for each of many configurations."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest

from pytest_kgate.errors import UsageError
from pytest_kgate.search.space.configuration import Configuration
from pytest_kgate.session.collection.misuse import end_collection
from pytest_kgate.session.collection.search_space import space_of

if TYPE_CHECKING:
    from pytest_kgate.evaluation.options.options import Options

PARAMETER = "kgate_sweep"
"""Of swept tests; no fixture of theirs, since kernels and the fixture `knobs` look it up."""


class Sweep:
    """A plugin of sessions that have one of the options."""

    def __init__(self, options: Options, configurations: Sequence[Configuration], flag: str) -> None:
        """`flag` is the option that gave the configurations."""
        self._options = options
        self._all = list(configurations)
        self._flag = flag
        self._left_out: dict[str, int] = {}
        """By test: how many its marker's constraints refuse."""

    @pytest.hookimpl(trylast=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize; configurations that break a constraint of the test's marker are left out."""
        if not {"kernels", "knobs"} & set(metafunc.fixturenames):
            return
        allowed = self._allowed(metafunc)
        self._left_out[metafunc.definition.nodeid] = len(self._all) - len(allowed)
        metafunc.fixturenames.append(PARAMETER)
        metafunc.parametrize(PARAMETER, allowed, ids=[one.title for one in allowed])

    def _allowed(self, metafunc: pytest.Metafunc) -> list[Configuration]:
        try:
            space = space_of(metafunc.definition, self._options)
            others = {} if space is None else {**space.default.as_dict(), **dict(self._options.knob)}
        except UsageError:  # told where all markers are checked
            return self._all
        return [one for one in self._all if space is None or space.broken({**others, **one.as_dict()}) is None]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """End the session where constraints leave no configuration to any test that was chosen."""
        chosen = [item for item in items if PARAMETER in _parameters(item)]
        if chosen and not any(map(swept, chosen)):
            wrong = UsageError(
                f"{self._flag}: the constraints of {chosen[0].nodeid.partition('[')[0]} leave none of its "
                f"{len(self._all)} configurations.",
                "Sweep other values, or loosen the constraints of its search marker.",
            )
            end_collection(session, items, wrong)

    def pytest_report_collectionfinish(self, items: Sequence[pytest.Item]) -> list[str]:
        if items and not self._left_out:
            return [f"kgate: {self._flag} sets nothing: no collected test has kernels or knobs"]
        return [
            f"kgate: {self._flag} leaves out {count} of {len(self._all)} configurations, by the constraints of {test}"
            for test, count in self._left_out.items()
            if count
        ]


def swept(item: pytest.Item) -> Configuration | None:
    """The configuration that this test of a sweep is for; None where there is none, which pytest skips."""
    found = _parameters(item).get(PARAMETER)
    return found if isinstance(found, Configuration) else None


def _parameters(item: pytest.Item) -> Mapping[str, object]:
    callspec = getattr(item, "callspec", None)
    return callspec.params if callspec else {}
