"""Settings of PyTorch that a session may have made, so that the clean process computes and times under the same."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch

from pytest_kgate.bench.processes.clean.problem.recipe import NotRebuilt
from pytest_kgate.integrity.global_state.of_torch import of_torch

_PLAIN = (bool, int, float, str)


def read() -> dict[str, Any]:
    """PyTorch's settings by name, in types of JSON; those that are not plain values are left out.

    Raises `NotRebuilt` under autocast, which holds in a block of code only, and changes what every operator returns.
    """
    if any(map(torch.is_autocast_enabled, ("cpu", "cuda"))):
        raise NotRebuilt("autocast is on in the tests' process")
    found: dict[str, Any] = {}
    for setting in of_torch():
        with contextlib.suppress(Exception):  # of another version of PyTorch
            value = setting.read()
            if isinstance(value, torch.dtype):
                found[setting.name] = {"dtype": str(value).removeprefix("torch.")}
            elif isinstance(value, _PLAIN):
                found[setting.name] = value
    return found


def apply(values: Mapping[str, Any]) -> None:
    """Set the settings that differ here to these values."""
    for setting in of_torch():
        wanted = values.get(setting.name)
        if wanted is None or setting.write is None:
            continue
        with contextlib.suppress(Exception):
            value = getattr(torch, wanted["dtype"]) if isinstance(wanted, dict) else wanted
            if setting.read() != value:
                setting.write(value)
