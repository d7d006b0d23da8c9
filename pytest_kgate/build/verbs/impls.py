"""`kgate impls`: the shipped kernels, what each needs and computes, and its knobs."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb takes none."""


def run(options: argparse.Namespace) -> int:
    """Print the list."""
    from pytest_kgate.build import registry
    from pytest_kgate.build.vendor_libraries import KNOWN
    from pytest_kgate.report.text.render import say

    for name, implementation in registry.implementations().items():
        head = f"{name} ({implementation.device_kind}, {implementation.status}): "
        say(implementation.description, " " * 4, first=head)
        if implementation.status == "ready":
            source = registry.find_source(name)
            for library in source.libraries:
                print(f"    needs {KNOWN[library].title}: {KNOWN[library].install}")
            if source.features:
                say(f"{', '.join(source.features)} (sdpa.h)", " " * 8, first="    features: ")
            for knob in source.knobs:
                say(knob.description, " " * 8, first=f"    {knob.name}={knob.default}  ")
    return 0
