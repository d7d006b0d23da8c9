"""`kgate integrity`: run the catalogue of cheats against the gate on the device at hand."""

from __future__ import annotations

import argparse
import gc
import os
import platform
import sys
from pathlib import Path
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.report.page import block
from pytest_kgate.report.text.render import usual_columns
from pytest_kgate.report.text.render import wrapped
from pytest_kgate.system.pytorch import require_torch
from pytest_kgate.validation.cheats import catalogue
from pytest_kgate.validation.cheats import session_modules
from pytest_kgate.validation.cheats.outside import OUTSIDE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb to its parser."""
    parser.add_argument("--device", choices=("auto", "host", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--only", metavar="NAME[,NAME...]", help="these cheats; default: all that fit the device")
    parser.add_argument("--outside", action="store_true", help="attacks thought up from the outside, in their place")
    parser.add_argument("--isolate", action="store_true", help="each cheat in a process of its own")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the outcomes in FILE, beside other devices'")
    parser.add_argument("--from", type=Path, dest="source", metavar="FILE", help="show such a file, run nothing")
    block.add_arguments(parser, "write the table into a block of this page")


def run(options: argparse.Namespace) -> int:
    """Run the cheats, save, print the table. Returns 1 where a cheat was not caught or an honest candidate was."""
    block.check(options)
    if options.source is not None:
        from pytest_kgate.validation.cheats import file

        content = file.load(options.source)
        devices = sorted(content["settings"])
    else:
        content, devices = _run(options)
    return _show(options, content, devices)


def _run(options: argparse.Namespace) -> tuple[dict[str, Any], list[str]]:
    if not hasattr(os, "fork"):
        raise UsageError("The catalogue needs an operating system that forks.", "Run it on Linux.")
    # The question whether there is a GPU must not touch it: the forked sessions could not use it any more.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    require_torch()
    import torch

    from pytest_kgate.device.open import assigned
    from pytest_kgate.validation.cheats import attempt
    from pytest_kgate.validation.cheats import file

    session_modules.import_all()
    gpu = torch.cuda.is_available()
    device = assigned(options.device).partition(":")[0]
    if device == "cuda" and not gpu:
        raise UsageError("There is no CUDA device.", "Use --device host.")
    among = OUTSIDE if options.outside else catalogue.CATALOGUE
    cheats = catalogue.chosen(device, options.only, among)
    if options.outside and not options.isolate:
        cheats = tuple(cheat for cheat in cheats if cheat.unchecked != "own")
    if not cheats:
        names = f"They are: {', '.join(cheat.name for cheat in catalogue.chosen(device, among=among))}."
        raise UsageError(f"None of the catalogue's cheats on {device} is called {options.only}.", names)
    gc.freeze()  # and no session looks through it for garbage, ten times as it ends
    before = file.load(options.json) if options.json is not None and options.json.is_file() else None
    attempts, setting, where = [], _setting(device), attempt.place(device, options.isolate)
    for cheat in cheats:
        one = attempt.run(cheat, device, isolate=options.isolate)
        attempts.append(one)
        content = file.document(attempts, where, setting, before)
        if options.json is not None:
            file.save(content, options.json)  # each at once: a run of many minutes may be broken off
        told = "caught" if one.caught else "passed"
        head = f"{cheat.name:24} {told:7} {one.verdict or '-':13} {one.unchecked or '':13}".rstrip()
        lines = [head, *wrapped(one.reason[:160], usual_columns(), "    ", first="    ")]
        print("\n".join(line for line in lines if line), file=sys.stderr, flush=True)
    return content, [where]


def _show(options: argparse.Namespace, content: dict[str, Any], devices: list[str]) -> int:
    from pytest_kgate.validation.cheats import file

    block.write(options, file.table(content))
    found = [line for device in devices for line in file.surprises(content, device)]
    for line in found:
        print(f"kgate: {line}", file=sys.stderr)
    return 1 if found else 0


def _setting(device: str) -> dict[str, Any]:
    """The device and its software, read without touching the GPU: forks of this process could not use it then."""
    import torch

    from pytest_kgate.report.record.values import now
    from pytest_kgate.system.cpu_load import cpu_model

    setting: dict[str, Any] = {"torch": f"PyTorch {torch.__version__}", "day": now()[:10]}
    if device == "host":
        return {"name": cpu_model(), **setting, "system": platform.platform()}
    import pynvml

    pynvml.nvmlInit()
    name, driver = pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(0)), pynvml.nvmlSystemGetDriverVersion()
    return {"name": str(name), "driver": f"driver {driver}", **setting}
