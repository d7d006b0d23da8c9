"""`kgate roofline`: what this device attains, measured once and kept, by which `speed_of_light` gates are judged."""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.device.open import device_argument
from pytest_kgate.device.open import open_device
from pytest_kgate.report.text.render import usual_columns
from pytest_kgate.report.text.render import wrapped
from pytest_kgate.statistics.wording import percent
from pytest_kgate.statistics.wording import significant
from pytest_kgate.system import json_file
from pytest_kgate.system.gpu_lease import leased

if TYPE_CHECKING:
    from pytest_kgate.bench.race.speed_of_light.rates import MeasuredRates
    from pytest_kgate.bench.race.speed_of_light.rates import Rate

_WAIT_SECONDS = 300.0
"""For other processes that time on the device."""

_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb to its parser."""
    parser.description = (
        "Show what large matrix products and copies attain on this device: the measured roofline that "
        "`speed_of_light` gates are judged by. It is measured where none is kept, which takes some seconds."
    )
    parser.add_argument(
        "--device", type=device_argument, default="auto", metavar="auto|cuda:N|host", help="default: %(default)s"
    )
    parser.add_argument("--again", action="store_true", help="measure it anew, and keep that")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write it to FILE, too")


def run(options: argparse.Namespace) -> int:
    """Measure or look up the rates, and print them; returns 0."""
    from pytest_kgate.bench.race.speed_of_light import kept

    device = open_device(options.device)
    environment = device.environment()
    name = environment.get("gpu", {}).get("uuid", device.kind)
    with leased(name, _WAIT_SECONDS, lambda who: print(f"kgate: {who}", file=sys.stderr)):
        told = functools.partial(print, "measuring", file=sys.stderr)
        rates = kept.rates_of(device, told, again=options.again, accept_disturbed=True)
    print("\n".join(lines_of(rates)))
    if rates.disturbed:
        print(f"kgate: not kept, since {rates.disturbed}: these rates may be too low", file=sys.stderr)
        print("Run it again while the machine does nothing else.", file=sys.stderr)
    if options.json is not None:  # last, so that a file that can't be written takes no measured rates along
        json_file.save(options.json, kept.to_json(rates) + "\n")
    return 0


def lines_of(rates: MeasuredRates) -> list[str]:
    """The rates as a table, with what they hold for and when they were measured."""
    about = ", ".join(f"{key} {value}" for key, value in rates.identity.items() if key != "name" and value is not None)
    lines = [f"{rates.identity['name']} ({about})", f"measured {rates.date[:19]}Z in {rates.seconds:.1f} s", ""]
    for name, rate in rates.operations.items():
        lines += _lines(name, rate, "FLOP/s" if "int" not in name else "OP/s", f"{rate.size}x{rate.size}")
    for rate in rates.copies:
        where = "memory" if rate is rates.copies[-1] else "hot cache"
        lines += _lines(f"copy, {where}", rate, "B/s", f"{significant(rate.size / 2**20)} MiB, both arrays")
    lines += [f"  {name:<16} none: {why}" for name, why in rates.refused.items()]
    return lines


def _lines(name: str, rate: Rate, unit: str, size: str) -> list[str]:
    factor, prefix = next((one for one in _PREFIXES if rate.per_second >= one[0]), (1.0, ""))
    shown = f"{significant(rate.per_second / factor)} {prefix}{unit}"
    head = f"  {name:<16} {shown:>12}  "
    told = f"of {size}; half of the rounds within {percent(rate.spread)}"
    return wrapped(told, usual_columns(), " " * len(head), first=head)
