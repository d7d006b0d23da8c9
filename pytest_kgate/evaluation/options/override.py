"""Options of one call: what is given for it, over what holds anyway."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection
from collections.abc import Mapping
from types import MappingProxyType

from pytest_kgate.errors import UsageError
from pytest_kgate.errors import hint
from pytest_kgate.evaluation.options.conflicts import check_conflicts
from pytest_kgate.evaluation.options.options import BY_NAME
from pytest_kgate.evaluation.options.options import PER_TEST
from pytest_kgate.evaluation.options.options import Options


def override(
    options: Options,
    source: str = "marker",
    /,
    *,
    allowed: Collection[str] = PER_TEST,
    beside: Collection[str] = (),
    **given: object,
) -> Options:
    """These options with some replaced, of those that are `allowed`; UsageError where a value makes no sense.

    `beside` names what else the same call takes, which a misspelt name may mean.
    """
    for name in given:
        if name not in allowed:
            meant = hint(name, (*beside, *allowed))
            known = f"These are: {', '.join(allowed)}."
            others = f" Besides, {source} takes {', '.join(beside)}." if beside else ""
            raise UsageError(f"{name} ({source}) is not an option of one test.{meant}", known + others)
    values = {name: BY_NAME[name].value(value, source) for name, value in given.items()}
    sources = MappingProxyType({**options.sources, **dict.fromkeys(values, source)})
    replaced = dataclasses.replace(options, **values, sources=sources)
    check_conflicts(replaced)
    return replaced


def from_environment(names: Collection[str], environ: Mapping[str, str] = os.environ) -> Options:
    """Options where no session is: environment variables set those that are named, the others are at their defaults."""
    found = {name: variable for name in names if (variable := BY_NAME[name].variable_set(environ)) is not None}
    values = {name: BY_NAME[name].value(environ[variable], variable) for name, variable in found.items()}
    options = Options(**values, sources=MappingProxyType(found))
    check_conflicts(options)
    return options
