"""Where the seconds of a gate go, for kernels of 1 us, 10 us, 1 ms and 20 ms; on a GPU also of 1 GiB.

    python benchmarks/seconds/by_latency.py --json FILE [--device cuda] [--repeat 3]

Each gate is a whole call: a spin of known length that copies its input, a fifth faster than the reference, against
`speedup(0.95)`; of 1 GiB a ReLU against three. On a GPU, what new values of 1 GiB cost is measured, too. With
PYTHONPATH at another version of the package, that one is measured. Takes under two minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pytest_kgate
from pytest_kgate.bench import call
from pytest_kgate.bench.race.reference import ReferencePicker
from pytest_kgate.bench.request import Request
from pytest_kgate.bench.request import Settings
from pytest_kgate.device.open import open_device
from pytest_kgate.problems.problem import Problem
from pytest_kgate.statistics.gates import SpeedGate

LATENCIES = (1e-6, 10e-6, 1e-3, 20e-3)
RATIO = 0.8
GIB = 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "host")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    device = open_device(options.device)
    spinning = _spin_on_gpu() if device.kind == "cuda" else _spin_on_host
    rows = []
    for latency in LATENCIES:
        for _ in range(options.repeat):
            rows.append(_gate(device, spinning, latency))
            print(_line(rows[-1]), flush=True)
    found = {"kgate": pytest_kgate.__version__, "device": device.environment(), "gates": rows}
    if device.kind == "cuda":
        rows.append(_race(device, _relu_of_a_gib(), torch.relu, "ReLU of 1 GiB"))
        print(_line(rows[-1]), flush=True)
        _write(options.json, found)  # another version of the package may not have what follows
        found["new_values_seconds"] = _new_values()
        print({name: f"{1e3 * seconds:.2f} ms" for name, seconds in found["new_values_seconds"].items()})
    _write(options.json, found)


def _write(path: Path, found: dict[str, Any]) -> None:
    path.write_text(json.dumps(found, indent=1, default=str) + "\n")


def _gate(device: Any, spinning: Callable[[float], Callable[..., Any]], latency: float) -> dict[str, Any]:
    problem = Problem(
        f"copy, {latency:g} s",
        lambda generator: (torch.randn(4096, generator=generator, device=generator.device),),
        reference=spinning(latency),
        exact=lambda x: x.double(),
    )
    return _race(device, problem, spinning(RATIO * latency), f"{latency:g} s")


def _relu_of_a_gib() -> Problem:
    return Problem(
        "ReLU of 1 GiB",
        lambda generator: (torch.randn(GIB // 4 // 4096, 4096, generator=generator, device=generator.device),),
        reference=lambda x: x.relu().relu().relu(),
        exact=lambda x: x.double().relu_(),
    )


def _race(device: Any, problem: Problem, candidate: Callable[..., Any], name: str) -> dict[str, Any]:
    request = Request("seconds", 0, candidate, problem, (SpeedGate(0.95),), None, _settings())
    start = time.perf_counter()
    record: Any = call.run(request, device, ReferencePicker(), device.environment(), lambda doing: None).record
    whole = time.perf_counter() - start
    if not record.get("timing"):
        raise SystemExit(f"{name}: {record['verdict']}: {record['reason']}")
    timing = record["timing"]
    seconds = record["seconds"]
    return {
        "kernel": name,
        "verdict": record["verdict"],
        "reason": record["reason"],
        "ratio": record["gates"][0]["ratio"] and record["gates"][0]["ratio"]["estimate"],
        "latency": timing["reference"]["median_seconds"],
        "rounds": timing["rounds"],
        "samples_per_round": timing["samples_per_round"],
        "call_seconds": whole,
        "race_seconds": timing["seconds_spent"],
        "timed_seconds": seconds.get("timed", float("nan")),
        "seconds": seconds,
    }


def _settings() -> Settings:
    return Settings(foreign_load="warn", weak="allow")


def _line(row: dict[str, Any]) -> str:
    shown = ", ".join(f"{name} {seconds:.3f}" for name, seconds in row["seconds"].items() if seconds >= 5e-4)
    allowed = 3 * row["timed_seconds"] + 0.1
    return (
        f"{row['kernel']}: {row['verdict']} at {row['ratio'] or np.nan:.4f}, {row['rounds']} rounds of "
        f"{row['samples_per_round']}, race {row['race_seconds']:.3f} s (3 x timed + 0.1 = {allowed:.3f}), call "
        f"{row['call_seconds']:.3f} s: {shown}"
    )


def _spin_on_host(seconds: float) -> Callable[..., Any]:
    def spin(x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
        end = time.perf_counter() + seconds
        out.copy_(x)
        while time.perf_counter() < end:
            pass
        return out

    return spin


def _spin_on_gpu() -> Callable[[float], Callable[..., Any]]:
    """Spins by cycles of the SM clock, measured by a long one."""
    torch.cuda._sleep(20_000_000)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    torch.cuda._sleep(20_000_000)
    end.record()
    torch.cuda.synchronize()
    cycles_a_second = 20_000_000 / (1e-3 * start.elapsed_time(end))

    def spinning(seconds: float) -> Callable[..., Any]:
        cycles = int(max(0.0, seconds - 1.5e-6) * cycles_a_second)  # the copy is a kernel of 1.5 us

        def spin(x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
            if cycles:
                torch.cuda._sleep(cycles)
            return out.copy_(x)

        return spin

    return spinning


def _new_values() -> dict[str, float]:
    """Seconds that new values for 1 GiB of float32 take, drawn and made of those that are there: medians of five."""
    generator = torch.Generator("cuda").manual_seed(1)
    x = torch.randn(GIB // 4 // 4096, 4096, device="cuda")
    signs = torch.ones(len(x), 1, device="cuda")
    rows = torch.randperm(len(x), device="cuda")
    ways = {
        "normal": lambda: torch.randn(x.shape, generator=generator, device="cuda"),
        "uniform": lambda: torch.rand(x.shape, generator=generator, device="cuda"),
        "signs of rows": lambda: x * signs,
        "roll": lambda: x.roll(1, 0),
        "permuted rows": lambda: x[rows],
        "kernel that reads and writes it once": lambda: x.relu(),
        "fingerprint": lambda: _fingerprint(x),
    }
    return {name: statistics.median(_seconds(way) for _ in range(5)) for name, way in ways.items()}


def _fingerprint(x: torch.Tensor) -> None:
    from pytest_kgate.problems.trees.fingerprint import Fingerprint

    Fingerprint((x,))


def _seconds(way: Callable[[], Any]) -> float:
    torch.cuda.synchronize()
    start = time.perf_counter()
    way()
    torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
