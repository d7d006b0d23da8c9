"""`kgate lock`: write down what this machine measures with; `pytest --kgate-locked FILE` holds a session to it."""

from __future__ import annotations

import argparse
from pathlib import Path

from pytest_kgate.device.open import device_argument
from pytest_kgate.device.open import open_device
from pytest_kgate.evaluation.lock import file
from pytest_kgate.evaluation.lock.versions import OPTIONS
from pytest_kgate.evaluation.lock.versions import differences
from pytest_kgate.evaluation.lock.versions import versions_of
from pytest_kgate.evaluation.options.options import BY_NAME
from pytest_kgate.evaluation.options.override import from_environment
from pytest_kgate.evaluation.options.override import override


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb to its parser."""
    parser.description = (
        "Write the versions of packages, driver, CUDA and compilers, the GPU, and the options that decide how gates "
        "are judged to a file. `pytest --kgate-locked FILE` says what differs from it. Options are taken from here and "
        "from the environment (KGATE_TIMER); no ini file is read."
    )
    parser.add_argument(
        "file", nargs="?", type=Path, default=Path("kgate.lock"), metavar="FILE", help="default: %(default)s"
    )
    parser.add_argument(
        "--device", type=device_argument, default="auto", metavar="auto|cuda:N|host", help="default: %(default)s"
    )
    flags = parser.add_argument_group("options of the session that is to be locked, as pytest takes them")
    for name in OPTIONS:
        option = BY_NAME[name]
        takes = {"metavar": option.metavar} if option.metavar else {"action": "store_const", "const": "true"}
        flags.add_argument(option.flag, dest=option.ini, default=None, **takes)  # type: ignore[arg-type]


def run(options: argparse.Namespace) -> int:
    """Write the file, and say what has changed where there was one; returns 0."""
    given = {name: value for name in OPTIONS if (value := getattr(options, BY_NAME[name].ini)) is not None}
    asked = override(from_environment(OPTIONS), "kgate lock", allowed=OPTIONS, **given)
    here = versions_of(open_device(options.device), asked)
    before = file.load(options.file) if options.file.is_file() else None
    file.save(options.file, here)
    print(f"{options.file}: {len(here)} entries locked")
    for one in differences(before, here) if before is not None else ():
        print(f"changed: {one}")
    return 0
