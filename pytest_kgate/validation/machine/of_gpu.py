"""What of a GPU, its driver and who else uses it matters to gates. Pure: judges what was read elsewhere."""

from __future__ import annotations

from pytest_kgate.device.cuda.nvml.settings import GpuSettings
from pytest_kgate.device.protocol import THROTTLING
from pytest_kgate.device.protocol import Reading
from pytest_kgate.validation.machine.finding import Finding

_CLOCKS_SET = 0x02
"""NVML's clocks event reason: the clock is where somebody has set it."""

_POWER_CAP = 0x04

_PROHIBITED, _ALONE = 2, 3
"""Compute modes."""

_LOWER_LIMIT = 0.99
"""Of the default power limit; the two may differ by rounding."""


def unreadable() -> list[Finding]:
    """The finding where NVML says nothing of the GPU."""
    return [
        Finding(
            "NVML",
            "costs",
            "it does not answer",
            "races beside other processes, heat and throttling are judged as if there were none",
            "pip install nvidia-ml-py; in a container, NVIDIA_DRIVER_CAPABILITIES must have utility.",
        )
    ]


def of_gpu(settings: GpuSettings, reading: Reading | None, uuid: str) -> list[Finding]:
    """Findings on one GPU; what its driver does not tell gives none."""
    return [
        *_others(reading),
        *_throttling(reading),
        *_compute_mode(settings),
        *_memory_errors(settings),
        *_clocks(settings),
        *_power_limit(settings),
        *_persistence(settings),
        *_slices(settings, uuid),
    ]


def of_versions(settings: GpuSettings, torch_cuda: str | None, nvcc: tuple[int, ...]) -> list[Finding]:
    """Whether the driver runs what PyTorch was built for (`13.0`), and what nvcc compiles.

    `nvcc` is its release, empty where there is none.
    """
    driver = settings.get("cuda_of_driver")
    if driver is None:
        return []
    shown = f"the driver runs CUDA {driver[0]}.{driver[1]}"
    numbers = tuple(map(int, torch_cuda.split(".")[:2])) if torch_cuda else driver
    if numbers[0] > driver[0]:
        cost = "PyTorch can't use the GPU: no gate is judged"
        return [Finding("driver", "unfit", f"{shown}, and PyTorch is built for {torch_cuda}", cost, _UPDATE)]
    found = []
    if nvcc and nvcc[0] > driver[0]:
        cost = "what this nvcc compiles can't be loaded: candidates made of .cu files end as an ERROR"
        todo = "Update the driver, or point CUDA_HOME at a toolkit of its version."
        found.append(Finding("driver", "costs", f"{shown}, and nvcc is {nvcc[0]}.{nvcc[1]}", cost, todo))
    elif numbers > driver or nvcc[:2] > driver:
        cost = "kernels that are compiled as they are loaded (PTX) may fail, and new features are not there"
        newest = max(numbers, nvcc[:2])
        found.append(Finding("driver", "costs", f"{shown}, older than {newest[0]}.{newest[1]} here", cost, _UPDATE))
    return found or [Finding("driver", "ok", shown)]


_UPDATE = "Update the driver, or install a PyTorch for its version."


def _others(reading: Reading | None) -> list[Finding]:
    if reading is None or reading.foreign_processes is None:
        return []
    count = reading.foreign_processes
    if not count:
        return [Finding("other processes", "ok", "none has the GPU open")]
    who = "another process has" if count == 1 else f"{count} other processes have"
    cost = "every race beside it that this can have decided is INVALID"
    todo = "End it; nvidia-smi shows which it is."
    return [Finding("other processes", "unfit", f"{who} the GPU open", cost, todo)]


def _throttling(reading: Reading | None) -> list[Finding]:
    if reading is None or reading.throttle is None:
        return []
    names = [name for bit, name in THROTTLING.items() if reading.throttle & bit]
    if not names:
        return [Finding("throttling", "ok", "none at the moment")]
    found = f"the GPU throttles while it is idle: {', '.join(names)}"
    if reading.throttle & sum(THROTTLING) == _POWER_CAP:
        return [Finding("throttling", "costs", found, "latencies are those of a slower GPU, and intervals wider")]
    cost = "the ratio is that of a GPU that slows itself down; a race in which this begins or ends can be INVALID"
    return [Finding("throttling", "unfit", found, cost, "Let it cool down, and check its cooling and power supply.")]


def _compute_mode(settings: GpuSettings) -> list[Finding]:
    mode = settings.get("compute_mode")
    todo = "An administrator can set it: nvidia-smi --compute-mode 0."
    if mode == _PROHIBITED:
        return [Finding("compute mode", "unfit", "prohibited", "nothing can be run on this GPU", todo)]
    if mode == _ALONE:
        cost = "gates in processes of their own (--kgate-isolate, --kgate-processes) end as an ERROR"
        return [Finding("compute mode", "costs", "one process alone may use the GPU", cost, todo)]
    return []


def _memory_errors(settings: GpuSettings) -> list[Finding]:
    errors = settings.get("uncorrected_errors", 0)
    if errors:
        cost = "right kernels may be found wrong, and wrong references right"
        found = f"{errors} memory errors since the driver was loaded that could not be corrected"
        return [Finding("ECC", "unfit", found, cost, "Have the GPU reset or replaced; nvidia-smi -q -d ECC has more.")]
    if settings.get("ecc") is None:
        return []
    if settings["ecc"]:
        return [Finding("ECC", "ok", "on, no errors")]
    cost = "a flipped bit shows as a wrong answer; where ECC costs bandwidth, latencies are not those of GPUs with it"
    return [Finding("ECC", "costs", "off", cost, "An administrator can turn it on: nvidia-smi -e 1, then a reboot.")]


def _clocks(settings: GpuSettings) -> list[Finding]:
    reasons = settings.get("clock_reasons")
    if reasons is None:
        return []
    if reasons & _CLOCKS_SET:
        return [Finding("clocks", "ok", "set to a fixed frequency")]
    cost = (
        "none for the ratio, since both arms take turns under one clock; but intervals are wider, and latencies can't "
        "be compared with those of another session"
    )
    todo = "An administrator can lock them: nvidia-smi --lock-gpu-clocks=MHZ,MHZ."
    return [Finding("clocks", "costs", "not seen to be locked, which the driver does not always tell", cost, todo)]


def _power_limit(settings: GpuSettings) -> list[Finding]:
    limit, default = settings.get("power_limit_w"), settings.get("power_default_w")
    if not limit or not default:
        return []
    if limit >= _LOWER_LIMIT * default:
        return [Finding("power limit", "ok", f"{limit:.0f} W")]
    cost = "heavy kernels reach it sooner and run at a lower clock: ratios are those of this limit, not of the GPU"
    todo = f"An administrator can raise it: nvidia-smi --power-limit={default:.0f}."
    return [Finding("power limit", "costs", f"{limit:.0f} W, below the default of {default:.0f} W", cost, todo)]


def _persistence(settings: GpuSettings) -> list[Finding]:
    on = settings.get("persistence")
    if on is None:
        return []
    if on:
        return [Finding("persistence", "ok", "on")]
    cost = (
        "none for the ratio; each process that comes first waits seconds for the driver, and set clocks are forgotten"
    )
    todo = "An administrator can turn it on: nvidia-smi -pm 1."
    return [Finding("persistence", "costs", "off", cost, todo)]


def _slices(settings: GpuSettings, uuid: str) -> list[Finding]:
    if uuid.startswith("MIG-"):
        cost = (
            "power and heat are shared with the GPU's other slices, whose work no reading shows; few counters are there"
        )
        return [Finding("MIG", "costs", "this is a slice of a GPU", cost, "Use a whole GPU.")]
    if settings.get("mig"):
        cost = "a GPU in this mode runs nothing but its slices"
        return [Finding("MIG", "costs", "on", cost, "Name a slice by CUDA_VISIBLE_DEVICES, or turn it off.")]
    return [Finding("MIG", "ok", "off")] if "mig" in settings else []
