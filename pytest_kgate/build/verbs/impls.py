"""`kgate impls`: the shipped kernels, what each needs and computes, and its knobs."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb takes none."""


def run(options: argparse.Namespace) -> int:
    """Print the list."""
    from pytest_kgate.build import registry
    from pytest_kgate.build.vendor_libraries import KNOWN

    for name, implementation in registry.implementations().items():
        print(f"{name} ({implementation.device_kind}, {implementation.status}): {implementation.description}")
        if implementation.status == "ready":
            source = registry.find_source(name)
            for library in source.libraries:
                print(f"    needs {KNOWN[library].title}: {KNOWN[library].install}")
            if source.features:
                print(f"    features: {', '.join(source.features)} (sdpa.h)")
            for knob in source.knobs:
                print(f"    {knob.name}={knob.default}  {knob.description}")
    return 0
