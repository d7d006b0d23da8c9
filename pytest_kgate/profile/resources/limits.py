"""What a `resources` marker may limit, and the limits that one sets. Light: every session of pytest reads it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING
from typing import NamedTuple

from pytest_kgate.errors import real
from pytest_kgate.errors import shown

if TYPE_CHECKING:
    from pytest_kgate.report.record.facts.limits import LimitSense


class Resource(NamedTuple):  # a dataclass takes several times as long to make
    """Something of an SM that each kernel takes a share of."""

    name: str
    """As the marker names it."""
    unit: str
    uses: str
    """That a kernel takes so much of it: a sentence with places for `kernel` and `value`."""
    unknown: str
    """Why it may be unknown what a kernel takes: a sentence with a place for `kernel`."""
    sense: LimitSense = "<="
    """Whether a limit is the most or the least that is allowed."""


RESOURCES: Mapping[str, Resource] = MappingProxyType(
    {
        one.name: one
        for one in (
            Resource("registers", "registers", "{kernel} takes {value} a thread", ""),
            Resource(
                "shared_kib",
                "KiB",
                "{kernel} takes {value} of shared memory a block",
                "how much dynamic shared memory {kernel} is launched with is known where a GPU runs it",
            ),
            Resource(
                "spills",
                "bytes",
                "{kernel} spills {value} a thread (what it stores and loads because registers are short)",
                "{kernel} uses local memory, and only its compiler knows whether registers are spilled to it",
            ),
            Resource("local_bytes", "bytes", "{kernel} takes {value} of local memory a thread", ""),
            Resource(
                "blocks_per_sm",
                "blocks",
                "an SM holds {value} of {kernel} at once",
                "how many threads a block of {kernel} has, and so how many blocks an SM holds, is known where a GPU "
                "runs it",
                sense=">=",
            ),
        )
    }
)
"""By the name."""


class ResourceLimit(NamedTuple):
    """The most, or for `blocks_per_sm` the least, that each of a candidate's kernels may take of one resource."""

    resource: Resource
    bound: float
    """In the resource's unit."""


def limit(name: str, value: object) -> ResourceLimit:
    """The limit that a marker sets by `name=value`; raises ValueError where the value makes no sense.

    The value is a number, or says the sense that the resource has anyway: `"<= 72"`.
    """
    resource = RESOURCES[name]
    match = re.fullmatch(r"\s*(<=|>=)\s*(\S+)\s*", value) if isinstance(value, str) else None
    bound = _number(match[2]) if match else value
    if match and match[1] != resource.sense:
        kind = "an upper" if resource.sense == "<=" else "a lower"
        raise ValueError(f'{name} is {kind} limit, write "{resource.sense} {match[2]}", not {value!r}')
    least = 0.0 if resource.sense == "<=" else 1.0
    if least <= real(bound) < math.inf:
        return ResourceLimit(resource, real(bound))
    least_words = "0 or more" if resource.sense == "<=" else "1 or more"
    raise ValueError(f"{name} must be a number of {resource.unit}, {least_words}, not {shown(value)}")


def _number(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text
