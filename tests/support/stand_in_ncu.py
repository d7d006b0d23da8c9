"""A program that passes for Nsight Compute's `ncu`: it runs the tests, and reports a launch in each range they made."""

from __future__ import annotations

PROGRAM = """#!{own}
import csv, json, os, signal, subprocess, sys, time
arguments = sys.argv[1:]
def of(option):
    return arguments[arguments.index(option) + 1]
if arguments == ["--version"]:
    print("NVIDIA (R) Nsight Compute Command Line Profiler\\nVersion 2025.3.1.0 (build 1) (public-release)")
    sys.exit()
SAYS = dict(
    permission="ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance Counters on the "
    "target device 0.",
    driver="Cuda driver is not compatible with Nsight Compute.",
    library="Failed to initialize the profiler: LibraryNotLoaded. Check that a compatible driver library is loaded.",
    wsl="Profiling is not supported on device 0 as it uses the Windows Subsystem for Linux (WSL).",
    virtual="Profiling is not supported on device 0 as it is a vGPU.",
    chip="Profiling is not supported on device 0. To find out supported GPUs refer --list-chips option.",
    busy="Profiling failed because a driver resource was unavailable. Ensure that no other tool (like DCGM) is "
    "concurrently collecting profiling data.",
    metric="Failed to find metric regex:^dram__bytes_red\\\\.(sum|min)$",
)
RANGES = ("thread Domain:Push/Pop_Range:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg",
          "Id:Domain:Start/Stop_Range:PL_Type:PL_Value:CLR_Type:Color:Msg_Type:Msg")
KERNEL = "void kgate::latency_warpgroup<__half, 64>(kgate::Args)"
broken = os.environ.get("BROKEN", "")
with open(os.environ["CALLS"], "a") as file:
    file.write(json.dumps(arguments) + "\\n")
def table(report, file):
    header = ["ID", "Process ID", "Process Name", "Host Name", *RANGES, "Kernel Name", "Context", "Stream",
              "Block Size", "Grid Size", "Device", "CC", *report["metrics"]]
    out = csv.writer(file, quoting=csv.QUOTE_ALL)
    out.writerow(header)
    out.writerow([""] * 13 + [""] * len(report["metrics"]))
    for number, name in enumerate(report["ranges"]):
        nvtx = f'1 "<default domain>:{{name}}:none:none:none:none:none:none"'
        out.writerow([number, 7, "python", "127.0.0.1", nvtx, nvtx, KERNEL, 1, 7, "(128, 1, 1)",
                      "(32, 1, 1)", 0, "9.0", *(str(number + 1) for _ in report["metrics"])])
if "--import" in arguments:
    report = json.loads(open(of("--import")).read())
    if broken == "cut":
        print("==ERROR== Failed to load report file")
        sys.exit(1)
    if of("--page") != "raw":
        print(open(os.path.join(os.environ["PAGES"], of("--page") + ".csv")).read())
        sys.exit()
    table(report, sys.stdout)
    sys.exit()
log, report = of("--log-file"), of("--export") + ".ncu-rep"
def say(*lines):
    with open(log, "a") as file:
        file.write("".join(f"{{line}}\\n" for line in lines))
if broken in SAYS:
    say("==PROF== Connected to process 1", "==ERROR== " + SAYS[broken], "==WARNING== No kernels were profiled.")
    sys.exit(1)
if broken == "crash":
    print("the injection library fell over")
    sys.exit(3)
if broken == "hang":
    print("waiting for a kernel")
    sys.stdout.flush()
    time.sleep(600)
if "PRETENDS" in os.environ:
    status = 0
    tests = {{"test_mine.py" + argument.rpartition("test_mine.py")[2]: argument for argument in arguments
              if "::" in argument}}
    with open(os.environ["KGATE_UNDER_TOOL_RESULTS"], "w") as file:
        def tell(**line):
            file.write(json.dumps(line) + "\\n")
        tell(collected=tests)
        for number, test in enumerate(tests):
            if os.environ["PRETENDS"] in test:
                print("an illegal memory access was encountered")
                status = 9
                break
            for arm in ("candidate", "reference"):
                name = f"kgate.{{number}}.0.{{arm}}"
                tell(launch=test, range=name, state="ended", call=0, arm=arm, backend=None, gpu=None)
            tell(test=test, outcome="passed", message="")
else:
    status = subprocess.run(arguments[arguments.index({python!r}):]).returncode
lines = [json.loads(line) for line in open(os.environ["KGATE_UNDER_TOOL_RESULTS"])]
ended = list(dict.fromkeys(line["range"] for line in lines if line.get("state") == "ended"))
launching = [name for name in ended if os.environ.get("SILENT", "none") not in name]
if broken == "replay":
    say('==PROF== Profiling "waits_for_host" - 0: 0%', "==ERROR== LaunchFailed",
        '==ERROR== Failed to profile "waits_for_host" in process 1')
    launching = []
if not launching:
    say("==WARNING== No kernels were profiled.")
    sys.exit(status)
content = dict(ranges=launching, metrics=of("--metrics").split(","))
with open(report, "w") as file:
    json.dump(content, file)
for number in range(0 if "--csv" in arguments else len(launching)):
    say(f'==PROF== Profiling "latency_warpgroup" - {{number}}: 0%....50%....100% - 38 passes')
say(f"==PROF== Report: {{report}}")
if "--page" in arguments and broken != "silent":
    with open(log, "a", newline="") as file:
        table(content, file)
    if broken == "short":
        os.truncate(log, os.path.getsize(log) - 20)
sys.exit(status)
"""
"""`SILENT`: a part of a range's name in which nothing is launched. `BROKEN`: how it fails;
`silent` where it prints no table beside a report, `short` where that ends in the middle. `PAGES`: a folder that has
other pages of reports. `PRETENDS`: no test is run, and one of this name takes the process down."""

TESTS = """
import os
import pytest
import torch
from pytest_kgate import Problem

SILU = Problem(
    name="silu 64x64",
    inputs=lambda g: (torch.randn(64, 64, generator=g, device=g.device),),
    reference=torch.nn.functional.silu,
    exact=lambda x: torch.nn.functional.silu(x.double()),
)

def good(x, out):
    out.copy_(torch.nn.functional.silu(x))

def test_one(kbench):
    kbench(good, SILU)
"""
"""A user's file with one test."""
