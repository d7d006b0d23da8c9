"""Profile all planted kernels on this machine's GPU, and say what is found of each.

`python tests/profile/insights/profile_planted.py [FOLDER]` writes into FOLDER (default: $OUT, or here) planted.csv with
what Nsight Compute counted and measured.json with the metrics of each kernel, and prints what is found of it. `--show
FOLDER` prints it once more of the files there, without a GPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from planted_kernels import PLANTED
from planted_kernels import profiled

from pytest_kgate.profile.insights.find import insights_of
from pytest_kgate.profile.insights.numbers import numbers_of
from pytest_kgate.profile.nsight.aggregate import arm_counters
from pytest_kgate.profile.nsight.metrics.table import METRICS
from pytest_kgate.profile.nsight.metrics.table import raw_names
from pytest_kgate.profile.nsight.reading.raw_csv import read_raw_csv
from pytest_kgate.profile.under_tool.program import find_program
from pytest_kgate.report.record.facts.counters import LaunchCounters

ARCH = "sm_90"

SHOWN = (
    *("busiest", "tensor", "fma", "alu", "xu", "dram", "l2", "l1", "shared", "lsu", "issue", "warps", "warps_possible"),
    *("waves", "sm_resident", "local_share", "conflict_share", "load_efficiency", "sectors_per_load", "dram_bytes"),
    *("needed_bytes", "launches", "duration", "registers", "limit_registers", "limit_shared_mem", "limit_warps"),
)


def main(folder: Path) -> int:
    """Build, profile, read, print; the status of the first step that fails."""
    from pytest_kgate.build.kernel import prepare

    folder.mkdir(parents=True, exist_ok=True)
    broken = [one for one in prepare([(planted.path, {}) for planted in PLANTED]) if isinstance(one, Exception)]
    if broken:
        raise broken[0]
    ncu = str(find_program("ncu"))
    with tempfile.TemporaryDirectory() as place:
        report = f"{place}/planted.ncu-rep"
        command = [ncu, "-f", "-o", report, "--profile-from-start", "off", "--clock-control", "none"]
        command += ["--cache-control", "none", "--metrics", ",".join(raw_names(METRICS, ARCH))]
        done = subprocess.run([*command, sys.executable, __file__, "--launch"], check=False)
        if done.returncode:
            return done.returncode
        page = [ncu, "--import", report, "--csv", "--page", "raw", "--print-units", "base"]
        page += ["--print-metric-instances", "details"]
        with (folder / "planted.csv").open("w") as file:
            subprocess.run(page, stdout=file, check=True)
    return show(folder)


def launch() -> None:
    """In the profiled process: each kernel once, after a call that warms up."""
    import torch

    from pytest_kgate.build.kernel import load_kernel

    generator = torch.Generator("cuda").manual_seed(1)
    for planted in PLANTED:
        kernel = load_kernel(planted.path)
        data = torch.randn(1, 1, planted.elements // 64, 64, generator=generator, device="cuda")
        out = torch.empty_like(data)
        kernel(data, data, data, out=out)
        torch.cuda.synchronize()
        torch.cuda.cudart().cudaProfilerStart()
        kernel(data, data, data, out=out)
        torch.cuda.synchronize()
        torch.cuda.cudart().cudaProfilerStop()
        del data, out


def show(folder: Path) -> int:
    """Print what is found in the folder's CSV, which needs no GPU; 1 where a kernel is given another name first."""
    launches: dict[str, list[LaunchCounters]] = {}
    for one in read_raw_csv((folder / "planted.csv").read_text()):
        launches.setdefault(one.counters["kernel"].partition("(")[0], []).append(one.counters)
    wrong = 0
    measured = {}
    for planted in PLANTED:
        arm = arm_counters(launches.get(f"planted_{planted.name}", []), ARCH)
        values = {name: float(f"{facts['value']:.6g}") for name, facts in arm["metrics"].items()}
        measured[planted.name] = {"launches": arm["launch_count"], "metrics": values}
        record = profiled(planted, arm)
        names = [f"{one['name']} {one['evidence']['share']:.2f}" for one in insights_of(record)[:4]]
        right = bool(names) and names[0].partition(" ")[0] in (planted.finding, planted.on_h200)
        wrong += not right
        print(f"{'' if right else 'WRONG '}{planted.name}: {planted.finding} is found as {', '.join(names) or 'none'}")
        numbers = numbers_of(record)
        print("    " + " ".join(f"{name}={numbers[name]:.3g}" for name in SHOWN if name in numbers))
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in measured.items())
    (folder / "measured.json").write_text(f"{{\n{lines}\n}}\n")
    print(f"{wrong} of {len(PLANTED)} are given another name first")
    return int(bool(wrong))


if __name__ == "__main__":
    if sys.argv[1:] == ["--launch"]:
        launch()
    elif sys.argv[1:2] == ["--show"]:
        raise SystemExit(show(Path(sys.argv[2])))
    else:
        raise SystemExit(main(Path(sys.argv[1] if sys.argv[1:] else os.environ.get("OUT", "."))))
