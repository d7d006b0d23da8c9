"""A program that runs a compiler of a source that is not trusted, confined as the candidate's own process is, and more.

The compiler and all that it starts read what they are told only, write to one folder, open no connection, and end at
limits of time, memory and file size. This process stays outside, to end what is left of them. Needs Linux.
"""

from __future__ import annotations

import contextlib
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from pytest_kgate.build.compiler.confined import TOO_LONG
from pytest_kgate.build.compiler.confined import Confined
from pytest_kgate.integrity.isolation.process.confinement.confinement import confine_compiler
from pytest_kgate.integrity.isolation.process.judge.guard import adopt_orphans
from pytest_kgate.integrity.isolation.process.judge.guard import end_children
from pytest_kgate.system.child_process import die_with_parent


def confined(seconds: float) -> Confined:
    """How this program is started; a source has so many seconds."""
    return Confined((sys.executable, "-m", __name__), seconds)


def _confine(limits: dict[str, Any]) -> None:
    """In the compiler's process, before it starts."""
    die_with_parent()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # where memory ends, the compiler does
    for what, most in (
        (resource.RLIMIT_DATA, limits["memory_bytes"]),
        (resource.RLIMIT_FSIZE, limits["file_bytes"]),
        (resource.RLIMIT_CORE, 0),
        # Not of the clock: for what is left where this process is killed.
        (resource.RLIMIT_CPU, int(limits["seconds"]) * 64 + 60),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
    confine_compiler(Path(limits["writable"]), limits["readable"])


def main(told: str, *command: str) -> int:
    """Run the command confined; returns its status, 124 where it was ended at its time."""
    limits = json.loads(told)
    adopt_orphans()
    die_with_parent()
    try:
        with subprocess.Popen(command, preexec_fn=lambda: _confine(limits)) as compiler:
            try:
                return compiler.wait(limits["seconds"])
            except subprocess.TimeoutExpired:
                compiler.kill()
                print(TOO_LONG)
                return 124
    finally:
        end_children()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
