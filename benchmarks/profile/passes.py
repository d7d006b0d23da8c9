"""What each group of the table of metrics costs: passes of a launch, and seconds.

On a GPU whose counters may be read: `python benchmarks/profile/passes.py [sm_90]`. A program that only launches one
kernel is counted with no metric but the duration, with all, with what a session counts, with each group alone, and with
all but that group.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from pytest_kgate.profile.nsight.metrics.metric import Metric
from pytest_kgate.profile.nsight.metrics.table import GROUPS
from pytest_kgate.profile.nsight.metrics.table import ON_REQUEST
from pytest_kgate.profile.nsight.metrics.table import raw_names
from pytest_kgate.profile.under_tool.program import find_program

PROGRAM = """
#include <cuda_runtime.h>
__global__ void scale(float* data, int count) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) data[i] *= 2.0f;
}
int main() {
    float* data;
    if (cudaMalloc(&data, 4 << 20) || cudaMemset(data, 0, 4 << 20)) return 1;
    for (int i = 0; i < 2; ++i) scale<<<4096, 256>>>(data, 1 << 20);  // the second one without what is first
    return cudaDeviceSynchronize();
}
"""


def main(arch: str) -> None:
    """Print a line for each selection."""
    every = [one for group in GROUPS.values() for one in group]
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "launches"
        program.with_suffix(".cu").write_text(PROGRAM)
        build = [str(find_program("nvcc")), "-arch", arch, "-o", str(program), str(program.with_suffix(".cu"))]
        subprocess.run(build, check=True)
        tell(program, "the duration alone", (), arch)
        tell(program, "all", every, arch)
        asked_for = [one for group in ON_REQUEST for one in GROUPS[group]]
        tell(program, "what a session counts", [one for one in every if one not in asked_for], arch)
        for name, group in GROUPS.items():
            tell(program, f"only {name}", group, arch)
            tell(program, f"all but {name}", [one for one in every if one not in group], arch)


def tell(program: Path, what: str, metrics: Iterable[Metric], arch: str) -> None:
    """Passes of the second launch, and the seconds of the whole process."""
    names = raw_names([one.name for one in metrics], arch)
    command = [str(find_program("ncu")), "--clock-control", "none", "--cache-control", "none"]
    command += ["--metrics", ",".join(names), str(program)]
    start = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - start
    passes = re.findall(r"(\d+) pass(?:es)?\s*$", done.stdout + done.stderr, re.MULTILINE)
    said = passes[-1] if passes else (done.stdout + done.stderr)[-200:]
    print(f"{what:40} {len(names):3} metrics {said:>4} passes {seconds:6.2f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "sm_90")
