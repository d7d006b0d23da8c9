"""Isolated candidates that go for the judging process, for other processes, or for what lasts when all have ended.

Each says in an error what became of it: `refused` where a system call was, `did it` where none was.
"""

import ctypes
import fcntl
import mmap
import os
import platform
import resource
import socket
import tempfile
import time
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"


def judge():
    """The keeper's parent, or the process that the test names."""
    if "ATTACKED" in os.environ:
        return int(os.environ["ATTACKED"])
    return int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1])


def threads():
    return [int(name) for name in os.listdir(f"/proc/{judge()}/task")]


def call(x86, arm, *arguments):
    if LIBC.syscall(x86 if X86 else arm, *arguments) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


ATTACKS = {}


def attack(function):
    """Beside the function, a candidate `try_...` that says what became of it."""

    def candidate(x):
        raise ValueError(attempt(function.__name__))

    ATTACKS[function.__name__] = function
    globals()[f"try_{function.__name__}"] = candidate
    return function


def attempt(name):
    try:
        ATTACKS[name]()
    except OSError as error:
        return f"refused: {error.strerror}"
    return "did it"


@attack
def pins_threads():
    for thread in threads():
        os.sched_setaffinity(thread, {min(os.sched_getaffinity(0))})


@attack
def idles_threads():
    for thread in threads():
        os.sched_setscheduler(thread, os.SCHED_IDLE, os.sched_param(0))


@attack
def renices_threads():
    for thread in threads():
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + 5))


@attack
def renices_user():
    os.setpriority(os.PRIO_USER, 0, 1)


@attack
def limits_files():
    soft, hard = resource.prlimit(judge(), resource.RLIMIT_NOFILE)
    resource.prlimit(judge(), resource.RLIMIT_NOFILE, (min(soft, 64), hard))


@attack
def starves_disk():
    call(251, 30, 1, judge(), 3 << 13)


@attack
def caps_frequency():
    attributes = (ctypes.c_uint32 * 14)(56, 3)
    for thread in threads():
        call(314, 274, thread, ctypes.byref(attributes), 0)


@attack
def leaves_segment():
    call(29, 194, 0x4B474154, ctypes.c_size_t(1 << 20), 0o1666)


@attack
def leaves_queue():
    call(68, 186, 0x4B474154, 0o1666)


@attack
def leaves_semaphores():
    call(64, 190, 0x4B474154, 1, 0o1666)


@attack
def leaves_posix_queue():
    call(240, 180, b"kgate", os.O_CREAT | os.O_RDWR, 0o600, None)


@attack
def leaves_key():
    call(248, 217, b"user", b"kgate", b"x", ctypes.c_size_t(1), -4)


@attack
def signals_by_descriptor():
    mine, _ = socket.socketpair()
    fcntl.fcntl(mine, fcntl.F_SETOWN, judge())


@attack
def stops_keeper():
    os.kill(os.getppid(), 19)


@attack
def leaves_namespace():
    call(272, 97, 0x1000_0000)


@attack
def clones_into_namespace():
    call(56, 220, 0x1000_0000 | 17, None, None, None, None)


@attack
def opens_ring():
    call(425, 425, 8, ctypes.byref((ctypes.c_uint32 * 32)()))


@attack
def counts_events():
    call(298, 241, ctypes.byref((ctypes.c_uint32 * 32)(1, 128)), judge(), -1, -1, 0)


@attack
def asks_service():
    socket.socket(socket.AF_UNIX)


@attack
def asks_service_by_a_pair():
    """A datagram socket of a pair can be connected to a service, which a stream can't."""
    mine, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    mine.connect("/dev/log")


@attack
def poisons_page():
    page = ctypes.create_string_buffer(8192)
    call(28, 233, ctypes.c_void_p(ctypes.addressof(page) + 4095 & ~4095), ctypes.c_size_t(4096), 100)


@attack
def types_into_terminal():
    fcntl.ioctl(os.open("/dev/null", os.O_RDONLY), 0x5412, b"x")


@attack
def gives_files_away():
    os.chown(__file__, os.getuid(), os.getgid())


@attack
def makes_each_write_wait():
    """FS_IOC_SETFLAGS takes a file that was opened to be read, and lasts."""
    fcntl.ioctl(os.open(__file__, os.O_RDONLY), 0x4008_6602, b"\x08" + bytes(7))


@attack
def sets_attribute_by_a_newer_call():
    value = ctypes.create_string_buffer(b"kgate")
    told = (ctypes.c_uint64 * 2)(ctypes.addressof(value), 5)
    call(463, 463, -100, __file__.encode(), 0, b"user.kgate", told, ctypes.c_size_t(16))


@attack
def leases_file():
    """Whoever opens it to write waits for 45 s."""
    fcntl.fcntl(os.open(__file__, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)


@attack
def uses_other_numbers():
    call(0x4000_0000 + 39, 0x4000_0000 + 172)


def _blocks():
    """Descriptors of shared blocks, which the worker does not close any more."""
    return [int(name) for name in os.listdir("/proc/self/fd") if "kgate-block" in _target(name)]


def _target(name):
    try:
        return os.readlink(f"/proc/self/fd/{name}")
    except OSError:
        return ""


_close = os.close
if "kgate-isolated" in os.environ.get("TMPDIR", ""):
    os.close = lambda fd: None if "kgate-block" in _target(fd) else _close(fd)

calls = 0


def _later(x, out, attack):
    global calls
    calls += 1
    out.copy_(x @ x)
    if calls > 1:
        attack()


@attack
def punches_memory():
    shared = os.memfd_create("shared")
    os.ftruncate(shared, mmap.PAGESIZE)
    _punch(shared)


@attack
def removes_memory():
    shared = mmap.mmap(-1, mmap.PAGESIZE)
    shared.madvise(mmap.MADV_REMOVE)


def _punch(fd):
    """A hole, over all: FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE."""
    call(285, 47, fd, 3, ctypes.c_long(0), ctypes.c_long(os.fstat(fd).st_size))


def truncates_block(x, out):
    _later(x, out, lambda: os.ftruncate(_blocks()[-1], 0))


def truncates_block_opened_anew(x, out):
    _later(x, out, lambda: os.ftruncate(os.open(f"/proc/self/fd/{_blocks()[-1]}", os.O_RDWR), 0))


def seals_block(x, out):
    _later(x, out, lambda: fcntl.fcntl(_blocks()[-1], fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE))


def punches_hole(x, out):
    _later(x, out, lambda: _punch(_blocks()[-1]))


def prints_without_end(x):
    os.ftruncate(1, 1 << 42)
    os._exit(3)


def nests_folders(x):
    os.chdir(tempfile.mkdtemp())
    for _ in range(3000):
        os.mkdir("in", 0o700)
        os.chdir("in")
    raise ValueError("nested")


def outlives_the_judge(x):
    """Leaves a grandchild in a session of its own, and hangs."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(600)
        os._exit(0)
    time.sleep(600)
