"""A Python that has PyTorch already: what it is asked to run is forked from one process, which saves seconds a time."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PARTS = Path(__file__).with_name("warm")


@contextlib.contextmanager
def warm_python() -> Iterator[str]:
    """The path of a program that does what `sys.executable` does with `-m`, `-c` or a file, while the block lasts.

    Where the system is not Linux that is `sys.executable`.
    """
    if sys.platform != "linux":
        yield sys.executable
        return
    with tempfile.TemporaryDirectory(prefix="kgate-warm-") as name:
        program = Path(name) / "python"
        program.write_text(f"#!{sys.executable} -IS\n{(_PARTS / 'client.py').read_text()}")
        program.chmod(0o755)
        command = [sys.executable, str(_PARTS / "server.py"), str(program.with_name("socket"))]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield str(program)
            server.communicate()
