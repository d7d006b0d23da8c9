"""The process that has PyTorch and all that sessions need: it forks for each program that asks; see `client.py`.

Started as a program with the path of its socket. For each request a fork of it waits for a fork of that, which does the
work, so that signals and the end of either side reach the other.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import io
import json
import os
import runpy
import select
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from typing import Any

_MOST_FILES = 250


def serve(path: str) -> None:
    """Answer until standard input ends."""
    import pytest

    from pytest_kgate.validation.cheats.session_modules import prepare_forks

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        # A session without tests, for pytest imports most of itself as one begins.
        pytest.main([folder, f"--rootdir={folder}", "-s", "-p", "no:cacheprovider", "-p", "no:kgate"])
    prepare_forks()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(32)
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener, 0], [], [])
        if 0 in ready:
            return
        client, _ = listener.accept()
        if not os.fork():
            listener.close()
            asked, files = _request(client)
            _watch(client, asked, files)
        client.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _request(client: socket.socket) -> tuple[Mapping[str, Any], list[int]]:
    size = array.array("i").itemsize
    head, ancillary, _, _ = client.recvmsg(8, socket.CMSG_LEN(_MOST_FILES * size))
    files = array.array("i")
    for _, _, data in ancillary:
        files.frombytes(data[: len(data) - len(data) % size])
    message = b""
    while len(message) < int.from_bytes(head, "big"):
        message += client.recv(2**20)
    return json.loads(message), list(files)


def _watch(client: socket.socket, asked: Mapping[str, Any], files: list[int]) -> None:
    """Fork, hand on the client's signals, and tell it how the fork ended; never returns."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)  # by which the pipe is written to
    child = os.fork()
    if not child:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _work(asked, files)
    for number in files:
        os.close(number)
    while True:
        ready, _, _ = select.select([client, woken], [], [])
        if client in ready:
            for number in client.recv(16) or [signal.SIGKILL]:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child, number)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            with contextlib.suppress(OSError):
                client.sendall(os.waitstatus_to_exitcode(status).to_bytes(4, "big", signed=True))
            os._exit(0)


def _work(asked: Mapping[str, Any], files: list[int]) -> None:
    """Be the process that was asked for; never returns."""
    status = 1
    try:
        os.setsid()
        _take_over(asked, files)
        status = _run(asked["arguments"])
        threading._shutdown()  # as Python does before it ends
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _take_over(asked: Mapping[str, Any], files: list[int]) -> None:
    os.chdir(asked["folder"])
    above = [os.dup2(number, 500 + place) for place, number in enumerate(files)]
    os.closerange(3, 500)
    for number, wanted in zip(above, asked["files"], strict=True):
        os.dup2(number, wanted, inheritable=True)
        os.close(number)
    sys.stdin, sys.stdout, sys.stderr = (
        io.TextIOWrapper(open(number, mode, closefd=False), line_buffering=number > 0)  # noqa: SIM115
        for number, mode in ((0, "rb"), (1, "wb"), (2, "wb"))
    )
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr
    before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.clear()
    os.environ.update(asked["environment"])
    added = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and path not in before]
    sys.path[1:1] = added
    sys.executable = asked["program"]
    tempfile.tempdir = None
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _run(arguments: list[str]) -> int:
    """Do what Python does with these arguments; the exit status."""
    while arguments[0] in ("-u", "-B"):
        arguments = arguments[1:]
    kind, rest = arguments[0], arguments[1:]
    if kind[:2] in ("-m", "-c") and len(kind) > 2:
        kind, rest = kind[:2], [kind[2:], *rest]
    try:
        if kind == "-m":
            sys.argv = rest
            sys.path[0] = os.getcwd()
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        elif kind == "-c":
            sys.argv = ["-c", *rest[1:]]
            sys.path[0] = ""
            exec(rest[0], {"__name__": "__main__"})
        else:
            sys.argv = [kind, *rest]
            sys.path[0] = os.path.dirname(os.path.abspath(kind))
            runpy.run_path(kind, run_name="__main__")
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return (end.code or 0) & 255
        print(end.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
