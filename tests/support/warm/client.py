"""A program that passes for Python: another process, which has PyTorch already, forks to do what is asked of this one.

It hands over its arguments, environment, folder and open files, hands on signals, and ends as that fork ends, which is
killed where this is. It is started with `-IS`, so that it takes milliseconds.
"""

import array
import contextlib
import json
import os
import signal
import socket
import sys


def main() -> None:
    files = [number for number in map(int, os.listdir("/proc/self/fd")) if _is_handed_on(number)]
    asked = {"program": sys.argv[0], "arguments": sys.argv[1:], "environment": dict(os.environ)}
    message = json.dumps({**asked, "folder": os.getcwd(), "files": files}).encode()
    server = socket.socket(socket.AF_UNIX)
    server.connect(os.path.join(os.path.dirname(sys.argv[0]), "socket"))
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
    server.sendmsg([len(message).to_bytes(8, "big")], rights)
    server.sendall(message)
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: server.sendall(bytes([number])))
    for number in files:  # whoever reads from a pipe is to see its end as soon as the fork has ended
        os.close(number)
    status = int.from_bytes(_whole(server, 4), "big", signed=True)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -status)
    os._exit(status)


def _is_handed_on(number: int) -> bool:
    with contextlib.suppress(OSError):
        return os.get_inheritable(number)
    return False


def _whole(server: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = server.recv(size - len(found))
        if not part:
            os._exit(70)
        found += part
    return found


main()
