"""What a candidate's process says of its launches: what is right is taken, all else is refused with a clause."""

from __future__ import annotations

import pytest

from pytest_kgate.integrity.isolation.captured.launches import MOST_KERNELS
from pytest_kgate.integrity.isolation.captured.launches import KernelLaunch
from pytest_kgate.integrity.isolation.captured.launches import NotRelaunchable
from pytest_kgate.integrity.isolation.captured.launches import launches_of

LAUNCH = KernelLaunch("_Z1kPf", (4, 1, 1), (256, 1, 1), 1024, (b"\0" * 8, b"\1\0\0\0"), (1, 1, 1), False)


def test_launches_survive_the_way():
    assert launches_of([LAUNCH.to_dict()] * 2) == (LAUNCH, LAUNCH)


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        ({"name": ""}, "name"),
        ({"name": "k" * 5000}, "name"),
        ({"name": None}, "name"),
        ({"grid": [1, 1]}, "a grid that is none"),
        ({"grid": [0, 1, 1]}, "a grid that is none"),
        ({"grid": [True, 1, 1]}, "a grid that is none"),
        ({"grid": [1.0, 1, 1]}, "a grid that is none"),
        ({"grid": [2**31 - 1, 2**16, 1]}, "larger than any"),
        ({"block": [2048, 1, 1]}, "larger than any"),
        ({"cluster": [32, 1, 1]}, "larger than any"),
        ({"shared_bytes": -1}, "shared memory"),
        ({"shared_bytes": 2**30}, "shared memory"),
        ({"carveout": 101}, "share of shared memory"),
        ({"carveout": None}, "share of shared memory"),
        ({"parameters": ["zz"]}, "parameters"),
        ({"parameters": [""]}, "empty"),
        ({"parameters": ["00" * 5000]}, "more than 4096 bytes"),
        ({"parameters": None}, "parameters"),
    ],
)
def test_launch_that_makes_no_sense_is_refused(change, clause):
    with pytest.raises(NotRelaunchable, match=clause):
        launches_of([{**LAUNCH.to_dict(), **change}])


@pytest.mark.parametrize("facts", [None, [], "text", {}, [None], [LAUNCH.to_dict()] * (MOST_KERNELS + 1)])
def test_list_that_is_none_or_too_long_is_refused(facts):
    with pytest.raises(NotRelaunchable):
        launches_of(facts)
