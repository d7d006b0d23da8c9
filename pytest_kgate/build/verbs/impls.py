"""`kgate impls`: the shipped kernels, what each needs and computes, and its knobs."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb takes none."""


def run(options: argparse.Namespace) -> int:
    """Print the list."""
    from pytest_kgate.build import registry
    from pytest_kgate.build.vendor_libraries import KNOWN
    from pytest_kgate.report.text.render import usual_columns
    from pytest_kgate.report.text.render import wrapped

    def show(head: str, told: str, indent: str) -> None:
        print(*wrapped(told, usual_columns(), indent, first=head), sep="\n")

    for name, implementation in registry.implementations().items():
        show(f"{name} ({implementation.device_kind}, {implementation.status}): ", implementation.description, "    ")
        if implementation.status == "ready":
            source = registry.find_source(name)
            for library in source.libraries:
                print(f"    needs {KNOWN[library].title}: {KNOWN[library].install}")
            if source.features:
                show("    features: ", f"{', '.join(source.features)} (sdpa.h)", " " * 8)
            for knob in source.knobs:
                show(f"    {knob.name}={knob.default}  ", knob.description, " " * 8)
    return 0
