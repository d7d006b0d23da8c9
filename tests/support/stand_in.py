"""What the tests of the sanitizer start: a suite of tests, and a program that passes for compute-sanitizer."""

from __future__ import annotations

PRELUDE = """
import os, time
import pytest
import torch
from pytest_kgate import Problem, Shape

def silu(rows, small=None):
    return Problem(
        name=f"silu {rows}x64",
        inputs=lambda g: (torch.randn(rows, 64, generator=g, device=g.device),),
        reference=torch.nn.functional.silu,
        exact=lambda x: torch.nn.functional.silu(x.double()),
        small=small,
    )

SILU = silu(4096, small=silu(67))

def good(x, out):
    out.copy_(torch.nn.functional.silu(x))
"""
"""SiLU is an operator whose shape PyTorch tells without loading its compiler, which takes a second a process."""

TOOL = """#!{own}
import json, os, signal, subprocess, sys, time
arguments = sys.argv[1:]
if arguments == ["--version"]:
    print("NVIDIA (R) Compute Sanitizer\\nVersion 2025.3.0.0 (build 1) (public-release)")
    sys.exit()
tool = arguments[arguments.index("--tool") + 1]
log = arguments[arguments.index("--log-file") + 1]
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps(arguments) + "\\n")
if "CHILDREN" in os.environ:
    with open(os.environ["CHILDREN"], "a") as file:
        file.write(f"{{os.getpid()}}\\n")
broken = os.environ.get("BROKEN")
if broken == "machine":
    open(log, "w").write("========= COMPUTE-SANITIZER\\n========= Device not supported. See the documentation\\n")
    sys.exit(1)
if broken == "internal":
    open(log, "w").write(
        "========= COMPUTE-SANITIZER\\n========= Internal Sanitizer Error: The Sanitizer failed to handle it.\\n"
        "=========\\n========= RACECHECK SUMMARY: 0 hazards displayed (1 error, 0 warnings)\\n"
    )
    sys.exit(1)
if broken == "crash":
    print("the injection library fell over")
    sys.exit(3)
if broken == "hang":
    time.sleep(600)
if os.environ.get("HANGS") == tool:
    time.sleep(600)
if os.environ.get("INTERRUPTS") == tool:
    while "CHILDREN" in os.environ and len(open(os.environ["CHILDREN"]).read().split()) < 2:
        time.sleep(0.01)
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(600)
status = subprocess.run(arguments[arguments.index({python!r}):]).returncode
ran = [json.loads(line) for line in open(os.environ["KGATE_UNDER_TOOL_RESULTS"])]
bad = any("bad" in line.get("test", "") for line in ran) and tool == "memcheck" or tool == os.environ.get("FOUND_BY")
with open(log, "w") as file:
    file.write("========= COMPUTE-SANITIZER\\n")
    if bad:
        file.write("========= Invalid __global__ write of size 4 bytes\\n")
        file.write("=========     at spoils(float *, int)+0x90 in spoils.cu:7\\n")
        file.write("=========     by thread (3,0,0) in block (1,0,0)\\n")
        file.write("=========     Address 0x7f00 is out of bounds\\n")
    unwritten = os.environ["CALLS"] + ".address"
    if tool == "initcheck" and os.path.exists(unwritten):
        address = open(unwritten).read()
        file.write(f"========= Host API memory access error at host access to {{address}} of size 17,152 bytes\\n")
        bad = True
    file.write(f"========= ERROR SUMMARY: {{(12 if tool == 'memcheck' else 1) if bad else 0}} errors\\n")
sys.exit(status)
"""
"""Runs the program, then reports a bad write in every test with `bad` in its name."""

MARKED = """
@pytest.mark.sanitize("memcheck", "racecheck")
@pytest.mark.speedup(0.95)
def test_NAME(kbench):
    kbench(good, SILU)
"""
