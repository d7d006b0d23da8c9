"""Where a kernel stands under the roofline: operations for each byte, by the problem and as counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kgate.report.format import significant

if TYPE_CHECKING:
    from pytest_kgate.bench.race.speed_of_light.rates import MeasuredRates
    from pytest_kgate.report.record.facts.counters import ArmCounters
    from pytest_kgate.report.record.record import Record

UNSAID = "the problem says neither its FLOPs nor its bytes; Problem(flops=..., bytes=...) gives it a place"


def position(record: Record, rates: MeasuredRates | None) -> list[str]:
    """Lines: the intensity by the problem, by each arm's counters, and where the device's roofline bends.

    `rates` are those that the device was seen to attain, where they are known.
    """
    counters, problem = record.get("counters"), record["problem"]
    lines = []
    ideal = None
    if problem["flops"] and problem["bytes"]:
        ideal = problem["flops"] / problem["bytes"]
        lines.append(f"by the problem {_per_byte(ideal)}: {problem['flops']:.3g} FLOPs, {problem['bytes']:.3g} bytes")
    else:
        lines.append(UNSAID)
    arms = {} if counters is None else {name: counters[name] for name in ("candidate", "reference")}
    for name, arm in arms.items():
        if arm is not None:
            lines.append(f"{name} counted {_counted(arm)}")
    bend = None if rates is None else _bend(record, rates)
    if bend is not None:
        side = "" if ideal is None else f"; the problem is {'compute' if ideal > bend else 'memory'}-bound here"
        lines.append(f"the roofline bends at {_per_byte(bend)} by this device's measured rates{side}")
    else:
        lines.append("`kgate roofline` measures this device's rates, which say where its roofline bends")
    return lines


def _counted(arm: ArmCounters) -> str:
    """`212 FLOPs a byte: 1.07e+09 FLOPs (99.6 % on tensor cores), 5.1e+06 bytes of device memory`."""
    metrics = arm["metrics"]
    wanted = ("tensor_ops", "fp32_ops", "dram_read", "dram_write")
    values = {name: metrics[name]["value"] for name in wanted if name in metrics}
    flops = values.get("tensor_ops", 0.0) + values.get("fp32_ops", 0.0)
    moved = values.get("dram_read", 0.0) + values.get("dram_write", 0.0)
    if len(values) < len(wanted):
        return "too little to say: its operations or bytes are not known"
    share = f" ({values['tensor_ops'] / flops:.1%} on tensor cores)" if flops else ""
    ratio = f"{_per_byte(flops / moved)}: " if moved else ""
    cached = f", {metrics['l2_bytes']['value']:.3g} bytes of the L2 cache" if "l2_bytes" in metrics else ""
    return f"{ratio}{flops:.3g} FLOPs{share}, {moved:.3g} bytes of device memory{cached}"


def _bend(record: Record, rates: MeasuredRates) -> float | None:
    known = rates.operations_of(record["problem"]["dtype"], tf32=False)
    if known is None or not rates.copies:
        return None
    return known[1].per_second / rates.copies[-1].per_second


def _per_byte(value: float) -> str:
    return f"{significant(value)} FLOPs a byte"
