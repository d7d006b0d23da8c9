"""The table of metrics, and what is asked of it: which raw names a GPU is to count, and what a name means there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping
from types import MappingProxyType

from pytest_kgate.errors import UsageError
from pytest_kgate.errors import hint
from pytest_kgate.profile.nsight.metrics.compute import ISSUE
from pytest_kgate.profile.nsight.metrics.compute import PIPES
from pytest_kgate.profile.nsight.metrics.compute import TIME
from pytest_kgate.profile.nsight.metrics.compute import WORK
from pytest_kgate.profile.nsight.metrics.launch import BARRIERS
from pytest_kgate.profile.nsight.metrics.launch import LAUNCH
from pytest_kgate.profile.nsight.metrics.launch import OCCUPANCY
from pytest_kgate.profile.nsight.metrics.launch import STALLS
from pytest_kgate.profile.nsight.metrics.memory import CACHES
from pytest_kgate.profile.nsight.metrics.memory import DEVICE_MEMORY
from pytest_kgate.profile.nsight.metrics.memory import GLOBAL_ACCESS
from pytest_kgate.profile.nsight.metrics.memory import ON_CHIP
from pytest_kgate.profile.nsight.metrics.metric import ARCHITECTURES
from pytest_kgate.profile.nsight.metrics.metric import Metric

GROUPS: Mapping[str, tuple[Metric, ...]] = MappingProxyType(
    {
        "multiprocessors": PIPES,
        "instructions": ISSUE,
        "work": WORK,
        "device memory": DEVICE_MEMORY,
        "caches": CACHES,
        "access to global memory": GLOBAL_ACCESS,
        "shared and local memory": ON_CHIP,
        "occupancy": OCCUPANCY,
        "launch": LAUNCH,
        "time": TIME,
        "barriers": BARRIERS,
        "what warps wait for": STALLS,
    }
)
"""All metrics, in the order in which they are shown."""

METRICS: Mapping[str, Metric] = MappingProxyType({one.name: one for rows in GROUPS.values() for one in rows})
"""By short name."""

ON_REQUEST = ("work", "what warps wait for")
"""Groups that no gate, finding or table of a session reads unless it names one of their metrics. Each metric can take
another pass of every launch, so sessions read these only where they are asked to."""

USUAL = tuple(one.name for group, rows in GROUPS.items() if group not in ON_REQUEST for one in rows)
"""Short names of what every profiled session reads."""

_OTHER_WORDS = {
    "occupancy": "warps",
    "achieved_occupancy": "warps",
    "theoretical_occupancy": "warps_possible",
    "spills": "local_memory",
    "time": "duration",
    "latency": "duration",
    "cycles": "sm_cycles",
    "clock": "sm_clock",
    "tensor_core": "tensor",
    "tensor_cores": "tensor",
    "exp": "xu",
    "sfu": "xu",
    "fp32": "fma",
    "int": "alu",
    "hbm": "dram",
    "bandwidth": "dram",
    "coalescing": "load_efficiency",
    "smem": "shared",
    "grid": "blocks",
}
"""What other tools and people say -> the name here; for suggestions only."""


def is_raw(name: str) -> bool:
    """Whether it is a name of Nsight Compute's, all of which have two underlines in them."""
    return "__" in name


def find(name: str) -> Metric:
    """The row of a short name; raises `UsageError` with the nearest one where there is none."""
    if name in METRICS:
        return METRICS[name]
    other = _OTHER_WORDS.get(name.casefold())
    nearest = f" Did you mean {other!r}?" if other else hint(name, METRICS)
    raise UsageError(
        f"There is no metric {name!r}.{nearest}",
        "`kgate metrics` lists the short names; any name of Nsight Compute's own, such as "
        "'sm__cycles_active.avg', can be given as well.",
    )


def base_unit(name: str) -> str:
    """The unit of a short name by the table, of a raw one by its form: `%`, `bytes`, `seconds`, ...; may be empty."""
    if not is_raw(name):
        return find(name).unit
    _, _, rest = name.partition(".")
    if "pct" in rest or name.endswith("_pct"):
        return "%"
    if name.startswith("gpu__time") and "per_" not in rest:
        return "seconds"
    return "bytes" if "__bytes" in name or ("_bytes" in name and "per_" not in name) else ""


def architecture(arch: str) -> str:
    """The entry of `ARCHITECTURES` for this GPU: `sm_90` for `sm_90a`, `sm_120` for `sm_121`.

    A GPU between two of them goes by the older one, one that is older than all by the first. Raises `UsageError`
    where `arch` is not written like `sm_90`.
    """
    found = re.fullmatch(r"(?:sm_|compute_)?(\d{2,3})[af]?", arch.strip())
    if found is None:
        raise UsageError(f"{arch!r} is no architecture of a GPU.", f"Write one of {', '.join(ARCHITECTURES)}.")
    number = int(found[1])
    older = [one for one in ARCHITECTURES if int(one.removeprefix("sm_")) <= number]
    return older[-1] if older else ARCHITECTURES[0]


def written(metric: Metric, arch: str) -> str:
    """What it is made of on one of `ARCHITECTURES`, in Nsight Compute's names: `a + b`, or `(a + b) / c * 100`."""
    if metric.ratio:
        above, below = (METRICS[one] for one in metric.ratio)
        written_above = f"({written(above, arch)})" if len(above.on(arch)) > 1 else written(above, arch)
        return f"{written_above} / {written(below, arch)}" + (f" * {metric.scale:g}" if metric.scale != 1 else "")
    return " + ".join(metric.on(arch))


def raw_names(names: Iterable[str], arch: str) -> tuple[str, ...]:
    """What Nsight Compute is to count for these short or raw names, and to combine launches; each once.

    Metrics that the GPU lacks are left out. Raises `UsageError` for an unknown short name. What is one instance of a
    metric, `name[BAR]`, is asked for by the metric's name.
    """
    where = architecture(arch)
    found: dict[str, None] = dict.fromkeys(METRICS["duration"].raw)
    for name in names:
        if is_raw(name):
            found[name] = None
            continue
        metric = find(name)
        for one in (metric.name, metric.weight, metric.bytes_name, *metric.ratio):
            found.update(dict.fromkeys(raw.partition("[")[0] for raw in (METRICS[one].on(where) if one else ())))
    return tuple(found)
