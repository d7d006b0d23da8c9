"""`kgate system show`: is this machine fit for gates? It looks, and changes nothing."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.device.open import device_argument
from pytest_kgate.device.open import open_device
from pytest_kgate.errors import DeviceMissing
from pytest_kgate.errors import ToolchainMissing
from pytest_kgate.report.text.render import wrapped
from pytest_kgate.statistics.wording import counted
from pytest_kgate.system import json_file
from pytest_kgate.validation.machine.finding import Finding
from pytest_kgate.validation.machine.of_host import of_host
from pytest_kgate.validation.machine.of_tools import of_tools

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device

_UNFIT = 2
_SCHEMA = "pytest-kgate/machine"
_VERSION = 1

_GPUS = Path("/proc/driver/nvidia/gpus")
"""Holds a folder for each GPU that the driver knows."""

_WIDTH = 118


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb to its parser."""
    parser.description = (
        "Say whether this machine is fit for gates, and what each thing that is not as it should be costs a verdict. "
        "It looks for a second, and changes no setting. The exit status is 2 where the machine is not fit."
    )
    parser.add_argument("action", choices=("show",), metavar="show", help="look at this machine")
    parser.add_argument(
        "--device", type=device_argument, default="auto", metavar="auto|cuda:N|host", help="default: %(default)s"
    )
    parser.add_argument("--json", metavar="FILE", help="write the findings to FILE; - prints them, and nothing else")


def run(options: argparse.Namespace) -> int:
    """Look at the machine and print what was found; 2 where it is not fit for gates."""
    name, findings = look(options.device)
    content = {
        "schema": _SCHEMA,
        "version": _VERSION,
        "device": name,
        "fit": not any(one.level == "unfit" for one in findings),
        "findings": [dataclasses.asdict(one) for one in findings],
    }
    text = json.dumps(content, indent=1) + "\n"
    if options.json == "-":
        print(text, end="")
    else:
        print("\n".join(lines_of(name, findings, min(_WIDTH, shutil.get_terminal_size().columns))))
        if options.json is not None:
            json_file.save(Path(options.json), text)
    return 0 if content["fit"] else _UNFIT


def look(spec: str) -> tuple[str, list[Finding]]:
    """What the device is called, and all that was found of it, its host and its tools."""
    try:
        device = open_device(spec)
    except DeviceMissing as error:
        kind = "host" if spec == "host" else "cuda"
        missing = Finding("device", "unfit", error.what.rstrip("."), "no gate is judged", error.todo)
        return spec, [missing, *of_host(kind, 1), *of_tools(kind)]
    environment = device.environment()
    threads = environment["cpu"]["torch_threads"] if device.kind == "host" else 1
    found = [*of_host(device.kind, threads), *of_tools(device.kind)]
    if device.kind == "host":
        from pytest_kgate.system.cpu_load import cpu_model  # here, since it needs NumPy, that --help does without

        return cpu_model(), [*(_unused_gpu() if spec == "auto" else ()), *found]
    gpu = environment["gpu"]
    return f"{gpu['name']}, driver {gpu.get('driver', 'unknown')}", [*_of_gpu(device, gpu["uuid"]), *found]


def lines_of(name: str, findings: list[Finding], width: int) -> list[str]:
    """The findings, the worst first, with what each costs; then whether the machine is fit."""
    order = ("unfit", "costs", "ok")
    aside = max(len(one.about) for one in findings) + 9
    lines = [name, ""]
    indent, room = " " * aside, max(width, aside + 40)
    for one in sorted(findings, key=lambda one: order.index(one.level)):
        lines += wrapped(one.found, room, f"{indent}  ", first=f"{one.level:<7}{one.about:<{aside - 7}}")
        for text in (f"cost: {one.cost}" if one.cost else "", f"do: {one.todo}" if one.todo else ""):
            lines += wrapped(text, room, f"{indent}  ", first=indent) if text else []
    unfit = [one.about for one in findings if one.level == "unfit"]
    costs = [one.about for one in findings if one.level == "costs"]
    if unfit:
        end = f"not fit for gates: {', '.join(unfit)}"
    elif costs:
        end = f"fit for gates; {counted(len(costs), 'finding')} at a cost: {', '.join(costs)}"
    else:
        end = "fit for gates"
    return [*lines, "", *wrapped(end, width)]


def _of_gpu(device: Device, uuid: str) -> list[Finding]:
    import torch

    from pytest_kgate.build.compiler.toolchain import cuda_compiler
    from pytest_kgate.device.cuda.nvml.settings import gpu_settings
    from pytest_kgate.validation.machine.of_gpu import of_gpu
    from pytest_kgate.validation.machine.of_gpu import of_versions
    from pytest_kgate.validation.machine.of_gpu import unreadable

    settings = gpu_settings(uuid)
    if settings is None:
        return unreadable()
    try:
        nvcc = cuda_compiler().release
    except ToolchainMissing:
        nvcc = ()
    return [*of_gpu(settings, device.read_machine(), uuid), *of_versions(settings, torch.version.cuda, nvcc)]


def _unused_gpu() -> list[Finding]:
    """Where the driver knows a GPU that PyTorch does not use."""
    if not _GPUS.is_dir() or not any(_GPUS.iterdir()):
        return []
    import torch

    why = (
        f"this PyTorch is built for CUDA {torch.version.cuda}, which the driver may be too old for"
        if torch.version.cuda
        else "this PyTorch is built without CUDA"
    )
    return [
        Finding(
            "GPU",
            "unfit",
            f"the driver knows a GPU that PyTorch can't use: {why}",
            "kernels for the GPU are not judged, and tests on it are skipped",
            "Install a PyTorch that fits the driver, or ask with --device host about the CPU.",
        )
    ]
