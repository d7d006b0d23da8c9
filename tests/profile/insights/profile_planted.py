"""Profile all planted kernels on this machine's GPU, and say what is found of each.

`python tests/profile/insights/profile_planted.py [FOLDER]` writes into FOLDER (default: $OUT, or here) planted.ncu-rep,
planted.csv with all that Nsight Compute counted, planted.json with the same by kernel, and prints a table.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from planted_kernels import PLANTED

from pytest_kgate.profile.nsight.metrics.table import METRICS
from pytest_kgate.profile.nsight.metrics.table import raw_names
from pytest_kgate.profile.under_tool.program import find_program

_SHOWN = ("busiest", "tensor", "fma", "xu", "dram", "l2", "l1", "shared", "lsu", "issue", "warps", "warps_possible")
_ALSO = ("waves", "sm_resident", "local_share", "conflict_share", "load_efficiency", "excess_factor", "duration_us")


def main(folder: Path) -> int:
    """Build, profile, read, print; the status of the first step that fails."""
    import torch

    from pytest_kgate.build.kernel import prepare

    folder.mkdir(parents=True, exist_ok=True)
    broken = [one for one in prepare([(planted.path, {}) for planted in PLANTED]) if isinstance(one, Exception)]
    if broken:
        raise broken[0]
    ncu = str(find_program("ncu"))
    arch = "sm_{}{}".format(*torch.cuda.get_device_capability())
    report = folder / "planted.ncu-rep"
    asked = ",".join(raw_names(METRICS, arch))
    command = [ncu, "-f", "-o", str(report), "--profile-from-start", "off", "--clock-control", "none"]
    command += ["--cache-control", "none", "--set", "full", "--metrics", asked, sys.executable, __file__, "--launch"]
    done = subprocess.run(command, check=False)
    if done.returncode:
        return done.returncode
    page = [ncu, "--import", str(report), "--csv", "--page", "raw", "--print-units", "base"]
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
    """Print what is found in the folder's CSV; needs no GPU."""
    launches: dict[str, list[dict[str, Any]]] = {}
    for name, metrics in _launches(folder / "planted.csv"):
        launches.setdefault(name.partition("(")[0], []).append(metrics)
    (folder / "planted.json").write_text(json.dumps(launches, indent=1))
    wrong = 0
    for planted in PLANTED:
        rows = launches.get(f"planted_{planted.name}", [])
        print(f"{planted.name}: {len(rows)} launches")
    return wrong


def _launches(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(newline="") as file:
        lines = [line for line in file if line.startswith('"')]
    rows = list(csv.DictReader(lines))
    for row in rows[1:]:  # behind the units
        yield row["Kernel Name"], {name: _value(text) for name, text in row.items() if text}


def _value(text: str) -> float | str:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return text


if __name__ == "__main__":
    if sys.argv[1:] == ["--launch"]:
        launch()
    else:
        raise SystemExit(main(Path(sys.argv[1] if sys.argv[1:] else os.environ.get("OUT", "."))))
