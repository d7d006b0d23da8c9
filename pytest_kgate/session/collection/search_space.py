"""The space of a test's search marker, with what its constraints ask of the session's device."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_kgate.device.open import assigned
from pytest_kgate.errors import UsageError
from pytest_kgate.session.collection.markers import gates_of

if TYPE_CHECKING:
    from pytest_kgate.evaluation.options.options import Options
    from pytest_kgate.search.space.space import Space

_OF_THE_HOST = frozenset({"cores", "simd"})


def space_of(item: pytest.Item, options: Options) -> Space | None:
    """None for a test without the marker. Raises `UsageError` where its constraints leave nothing, here.

    A GPU is asked where a constraint names a fact of one; without one, the documented figures of the architecture that
    kernels are compiled for stand in.
    """
    space = gates_of(item).search
    if space is None:
        return None
    from pytest_kgate.search.space.device_facts import device_facts

    asked = space.facts_asked
    index = None
    if asked - _OF_THE_HOST and options.device != "host":
        spec = assigned(options.device, os.environ.get("PYTEST_XDIST_WORKER", ""))
        index = int(spec.partition(":")[2]) if spec.startswith("cuda:") else None
    facts = device_facts(options.arch, index) if asked else {}
    return replace(space, facts=facts)


def check_spaces(items: Iterable[pytest.Item], options: Options) -> None:
    """Raise `UsageError` where a marker's constraints allow nothing on this device; each is looked at once."""
    seen = set()
    for item in items:
        mark = item.get_closest_marker("search")
        if mark is not None and id(mark) not in seen:
            seen.add(id(mark))
            space = space_of(item, options)
            try:
                assert space is not None
                _ = space.default
            except UsageError as error:
                raise UsageError(f"{item.nodeid}: {error.what}", error.todo) from None
