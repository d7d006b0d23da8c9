"""What a process that is no pytest session keeps from call to call: devices, chosen references, its environment."""

from __future__ import annotations

import atexit
import functools
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.bench.processes.clean.look import CleanRoom
from pytest_kgate.bench.race.reference import ReferencePicker
from pytest_kgate.device.open import assigned
from pytest_kgate.device.open import open_device
from pytest_kgate.integrity.tampering.exit_guard import install_exit_guard
from pytest_kgate.integrity.tampering.monkeypatches import MONKEYPATCHES
from pytest_kgate.integrity.tampering.monkeypatches import follow_imports
from pytest_kgate.system.environment import session_environment

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device

_LOGGER = logging.getLogger("pytest_kgate")


class Judge:
    """One per process."""

    def __init__(self) -> None:
        self.alone = threading.Lock()
        """Held while a candidate is judged: what is measured and watched belongs to the whole process."""
        self.picker = ReferencePicker()
        self.room = CleanRoom()
        atexit.register(self.room.close)
        self._devices: dict[str, Device] = {}
        install_exit_guard()
        if not MONKEYPATCHES.follows_imports:  # pytest's plugin may have begun earlier
            follow_imports(MONKEYPATCHES)

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
    """The one of this process, made at its first call."""
    return Judge()


def say_stuck(complaint: str) -> None:
    """A candidate does not return from native code; who called `evaluate` owns the process, so that it is not ended."""
    _LOGGER.critical(
        "%s, and nothing can interrupt it in this process: `evaluate` will not return. isolate=True, or "
        "`kgate evaluate` with a time limit, runs candidates where they can be ended.",
        complaint,
    )
