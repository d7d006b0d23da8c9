"""What a process that is no pytest session keeps from call to call: devices, chosen references, its environment."""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.bench.processes.clean.look import CleanRoom
from pytest_kgate.bench.race.reference import ReferencePicker
from pytest_kgate.device.open import assigned
from pytest_kgate.device.open import open_device
from pytest_kgate.errors import UsageError
from pytest_kgate.integrity.tampering.exit_guard import install_exit_guard
from pytest_kgate.integrity.tampering.monkeypatches import MONKEYPATCHES
from pytest_kgate.integrity.tampering.monkeypatches import follow_imports
from pytest_kgate.system.provenance.environment import session_environment

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device

_LOGGER = logging.getLogger("pytest_kgate")


class Judge:
    """The devices, references and environment that a process without pytest keeps; there is one a process."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._turn = threading.Lock()
        self._judging: int | None = None
        self.picker = ReferencePicker()
        self.room = CleanRoom()
        atexit.register(self.room.close)
        self._devices: dict[str, Device] = {}
        install_exit_guard()
        if not MONKEYPATCHES.follows_imports:  # pytest's plugin may have begun earlier
            follow_imports(MONKEYPATCHES)

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """In the block no other thread judges: what is measured and watched belongs to the whole process.

        Raises `UsageError` where a wait for this would never end.
        """
        if os.getpid() != self._process:
            raise UsageError(
                "evaluate was called in a fork of a process that has called it; PyTorch's threads don't outlive forks.",
                'Start processes by "spawn" (multiprocessing.get_context("spawn")), or call it in the children only.',
            )
        if self._judging == threading.get_ident():
            raise UsageError(
                "evaluate was called by what another call of it judges: one candidate is judged at a time.",
                "Call it outside of candidates and problems.",
            )
        with self._turn:
            self._judging = threading.get_ident()
            try:
                yield
            finally:
                self._judging = None

    @functools.cached_property
    def environment(self) -> dict[str, Any]:
        """Packages, the operating system, the git revision of the current folder."""
        return session_environment(Path.cwd())

    def device(self, spec: str, timeout_seconds: float) -> Device:
        """The device of this name, opened once; raises `DeviceMissing`."""
        spec = assigned(spec)
        if spec not in self._devices:
            self._devices[spec] = open_device(spec, timeout_seconds=timeout_seconds)
        return self._devices[spec]


@functools.cache
def judge() -> Judge:
    """The `Judge` of this process, made at the first call."""
    return Judge()


def say_stuck(complaint: str) -> None:
    """A candidate does not return from native code; who called `evaluate` owns the process, so that it is not ended."""
    _LOGGER.critical(
        "%s, and nothing can interrupt it in this process: `evaluate` will not return. isolate=True, or "
        "`kgate evaluate` with a time limit, runs candidates where they can be ended.",
        complaint,
    )
