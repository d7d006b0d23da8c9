"""The measured rates of a device, in the user's cache folder: one file a device, measured where there is none.

Rates that were measured on another device, with another driver, power limit or PyTorch are measured anew.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.bench.race.speed_of_light.rates import MeasuredRates
from pytest_kgate.bench.race.speed_of_light.rates import Rate
from pytest_kgate.build.compiler.cache import explained
from pytest_kgate.build.compiler.cache import root
from pytest_kgate.errors import KgateError
from pytest_kgate.system import json_file

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device

_VERSION = 2
"""Of the file's layout and of what is measured: rates of another version are measured anew."""


_disturbed: dict[Path, MeasuredRates] = {}
"""By the file in which they would be kept."""


def rates_of(
    device: Device, say: Callable[[str], None] | None = None, *, again: bool = False, accept_disturbed: bool = False
) -> MeasuredRates:
    """The rates of this device: those that are kept, unless `again`; else measured ones, which takes some seconds.

    No other process may use the device meanwhile. Rates that other work may have lowered are not kept; who accepts such
    gets those that this process has measured before, if any, and who does not may get none of products. `say` is told
    of each step of a measurement. Raises `KgateError` where the device can't be timed.
    """
    identity = identity_of(device.environment())
    path = path_of(identity)
    kept = None if again else lookup(identity)
    if kept is None and accept_disturbed and not again:
        kept = _disturbed.get(path)
    if kept is not None:
        return kept
    from pytest_kgate.bench.race.speed_of_light.measure import measured_rates  # here: it is seldom wanted

    rates = measured_rates(device, identity, say, accept_disturbed=accept_disturbed)
    if rates.disturbed:
        if accept_disturbed:
            _disturbed[path] = rates
        return rates
    with contextlib.suppress(KgateError):  # a folder that can't be written to: they are measured in each process then
        save(rates)
    return rates


def identity_of(environment: Mapping[str, Any]) -> dict[str, Any]:
    """What rates hold for: the device, by all that decides how fast it is, and PyTorch, whose kernels were measured."""
    import torch

    gpu, cpu = environment.get("gpu") or {}, environment.get("cpu") or {}
    if gpu:
        facts = {name: gpu.get(name) for name in ("name", "uuid", "driver", "power_limit_w")}
    elif cpu:
        facts = {"name": cpu.get("model"), "cores": cpu.get("usable_cores"), "threads": cpu.get("torch_threads")}
    else:
        facts = {"name": environment.get("device")}
    return {**facts, "torch": str(torch.__version__)}


def lookup(identity: Mapping[str, Any]) -> MeasuredRates | None:
    """The rates that were kept for just this device; None where there are none, or none that can be read."""
    try:
        content = json.loads(path_of(identity).read_bytes())
        if content.pop("version") != _VERSION or content["identity"] != identity:
            return None
        content["operations"] = {name: Rate(**rate) for name, rate in content["operations"].items()}
        content["copies"] = tuple(Rate(**rate) for rate in content["copies"])
        rates = MeasuredRates(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    every = [*rates.operations.values(), *rates.copies]
    return rates if rates.copies and all(0 < one.per_second < float("inf") for one in every) else None


def save(rates: MeasuredRates) -> Path:
    """Write the rates over earlier ones of the same device; returns the file's path."""
    path = path_of(rates.identity)
    with explained():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        json_file.replace(path, to_json(rates))
    return path


def to_json(rates: MeasuredRates) -> str:
    """The rates as the text of the file in which they are kept."""
    return json.dumps({"version": _VERSION, **asdict(rates)}, indent=1)


def path_of(identity: Mapping[str, Any]) -> Path:
    """The file of a device: of each GPU its own, of hosts one for each processor and number of threads."""
    name = str(identity.get("uuid") or identity["name"])
    if "threads" in identity:
        name = f"{name}-{identity['threads']}-threads"
    readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
    return root() / "rates" / f"{readable}.json"
