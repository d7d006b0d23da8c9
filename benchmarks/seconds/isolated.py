"""Where the seconds of two gates of isolated candidates go, one after the other in one session.

    python benchmarks/seconds/isolated.py --json FILE [--device cuda]

The candidate is PyTorch's attention in a file, against the same four times. What the session takes beside its gates is
pytest's own start, and PyTorch's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pytest_kgate.validation.cheats.attempt import SLOWLY

CANDIDATE = """
import torch.nn.functional as F


def attention(q, k, v):
    return F.scaled_dot_product_attention(q, k, v)
"""

TEST = f"""
import dataclasses

import pytest
from pytest_kgate import Shape
{SLOWLY}

@pytest.mark.perf
@pytest.mark.speedup(0.8)
@pytest.mark.parametrize("seqlen", [512, 1024])
def test_attention(kbench, sdpa_oracle, kgate_device, seqlen):
    dtype = "float32" if kgate_device.kind == "host" else "float16"
    problem = sdpa_oracle(Shape(1, 8, seqlen, 64), dtype=dtype, backend="flash")
    problem = dataclasses.replace(problem, reference=slowly(problem.reference["flash"]))
    kbench("generated.py:attention", problem)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kgate-isolated-") as folder:
        for name, text in (("generated.py", CANDIDATE), ("test_isolated.py", TEST), ("pytest.ini", "[pytest]\n")):
            Path(folder, name).write_text(text)
        records = Path(folder, "records.json")
        command = [sys.executable, "-m", "pytest", "-q", "--kgate-isolate", f"--kgate-device={options.device}"]
        start = time.perf_counter()
        subprocess.run([*command, f"--kgate-json={records}", "--kgate-foreign-load=warn"], cwd=folder, check=False)
        whole = time.perf_counter() - start
        found = json.loads(records.read_text())["records"]
    gates = [{name: one.get(name) for name in ("verdict", "reason", "seconds", "warnings")} for one in found]
    options.json.write_text(json.dumps({"session_seconds": whole, "gates": gates}, indent=1) + "\n")
    for gate in gates:
        shown = ", ".join(f"{name} {seconds:.2f}" for name, seconds in gate["seconds"].items() if seconds >= 5e-3)
        print(f"{gate['verdict']}, {sum(gate['seconds'].values()):.2f} s: {shown}")
    print(f"the session: {whole:.2f} s")


if __name__ == "__main__":
    main()
