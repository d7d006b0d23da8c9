"""The modules that every session with a gate imports, so that many sessions forked from one process import them once.

They are named by strings, since some belong to folders that may import this one.
"""

from __future__ import annotations

import gc
import importlib

import pytest_kgate

SESSION_MODULES = (
    "pytest_kgate.plugin",
    "pytest_kgate.bench.call",
    "pytest_kgate.bench.race.reference",
    "pytest_kgate.device.fake.device",
    "pytest_kgate.device.host",
    "pytest_kgate.profile.sanitizer.marker",
    "pytest_kgate.report.together.false_discovery",
    "pytest_kgate.report.ci.headline",
    "pytest_kgate.report.ci.properties",
    "pytest_kgate.report.record.file",
    "pytest_kgate.report.text.failure",
    "pytest_kgate.report.text.profiled.counters",
    "pytest_kgate.report.text.selftest",
    "pytest_kgate.report.text.summary",
    "pytest_kgate.session.collection.chosen_shapes",
    "pytest_kgate.session.fixtures.calls",
    "pytest_kgate.session.fixtures.sources.kernels",
    "pytest_kgate.session.fixtures.requests",
    "pytest_kgate.session.terminal.ci",
    "pytest_kgate.session.terminal.header",
    "pytest_kgate.system.provenance.environment",
    "rich.console",
    "rich.table",
    "torch.utils._device",
)


def import_all() -> None:
    """Import all modules that a session with a gate needs, PyTorch included."""
    for name in SESSION_MODULES:
        importlib.import_module(name)


def prepare_forks() -> None:
    """Import all that, so that sessions which are forked from this process have it.

    pytest does not warn in them that it is too late to rewrite the plugin's asserts, which would be an error where
    a project makes errors of warnings; none of them looks through what was imported for garbage.
    """
    import_all()
    pytest_kgate.__doc__ = f"{pytest_kgate.__doc__} PYTEST_DONT_REWRITE"
    gc.collect()
    gc.freeze()
