"""`--kgate-sweep`, `--kgate-joint`: tests that have kernels or knobs run once for each of many configurations.

A configuration stands last in a test's id. Who names `test_it[a]` means all of its configurations, which pytest itself
would not find: it is asked for `test_it`, and what was not named is left out again.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
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
    """A pytest plugin, under --kgate-sweep or --kgate-joint, that makes a test of each configuration."""

    def __init__(self, options: Options, configurations: Sequence[Configuration], flag: str) -> None:
        """`flag` is the option that gave the configurations."""
        self._options = options
        self._all = list(configurations)
        self._flag = flag
        self._left_out: dict[str, int] = {}
        """By test: how many its marker's constraints refuse."""
        self._named: Sequence[str] = ()
        """Arguments of the command line, where one of them names a test with its parameters."""

    @pytest.hookimpl(wrapper=True)
    def pytest_collection(self, session: pytest.Session) -> Generator[None, object, object]:
        """Collect whole functions where one was named with its parameters."""
        config = session.config
        named = config.args
        if any(map(_has_parameters, named)) and not config.option.pyargs:
            self._named = tuple(named)
            config.args = list(dict.fromkeys(one.partition("[")[0] if _has_parameters(one) else one for one in named))
        try:
            return (yield)
        finally:
            config.args = named

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

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> Generator[None, None, None]:
        """Keep what was named; end the session where constraints leave no configuration to any chosen test."""
        folder = session.config.invocation_params.dir
        if self._named:
            for one in filter(_has_parameters, self._named):
                if not any(_names(one, item, folder) for item in items):
                    wrong = UsageError(f"not found: {one}", "`pytest --collect-only -q` lists what there is.")
                    end_collection(session, items, wrong)
            kept = [item for item in items if any(_names(one, item, folder) for one in self._named)]
            session.config.hook.pytest_deselected(items=[item for item in items if item not in kept])
            items[:] = kept
        yield
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


def _has_parameters(argument: str) -> bool:
    return "::" in argument.partition("[")[0] and "[" in argument


def _names(argument: str, item: pytest.Item, folder: Path) -> bool:
    """Whether an argument of the command line, given in this folder, chooses this test."""
    base, bracket, parameters = argument.partition("[")
    path, _, name = base.partition("::")
    given, own = Path(os.path.abspath(folder / path)), item.nodeid.partition("::")[2]
    if given != item.path and given not in item.path.parents:
        return False
    if bracket:
        return f"{name}[{parameters}" in (own, _without_configuration(item, own))
    return name in ("", own, own.partition("[")[0]) or own.startswith(f"{name}::")


def _without_configuration(item: pytest.Item, own: str) -> str:
    """The test's id in its file, as it is without a sweep."""
    if PARAMETER not in _parameters(item):
        return own
    configuration = swept(item)
    title = "NOTSET" if configuration is None else configuration.title  # pytest's word where there is none
    whole = own.removesuffix(f"[{title}]")
    return whole if whole != own else own.removesuffix(f"-{title}]") + "]"


def _parameters(item: pytest.Item) -> Mapping[str, object]:
    callspec = getattr(item, "callspec", None)
    return callspec.params if callspec else {}
