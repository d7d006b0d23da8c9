"""The system calls that the process of an isolated candidate is refused: what they are called, and their numbers.

A call is in here where it reaches other processes, or where what it does outlasts the process; what Landlock refuses
as well is in here for kernels whose Landlock does not. All others are allowed, since nobody can tell what an honest
candidate, its compilers and CUDA's driver need.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

NUMBERS: dict[str, tuple[int | None, int | None]] = {
    # A table, one row a call: of one shape, since a call is only ever looked up here, by its name and the machine.
    # other processes: their memory, descriptors, pages
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # how they are scheduled, and their limits
    "prlimit64": (302, 261),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    # signals to them
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "fcntl": (72, 25),
    "ioctl": (16, 29),
    # what the kernel keeps when all processes have ended: System V's segments, queues and semaphores, keys
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgctl": (71, 187),
    "semget": (64, 190),
    "semop": (65, 193),
    "semtimedop": (220, 192),
    "semctl": (66, 191),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # owners and attributes of files, which Landlock leaves out
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "open_by_handle_at": (304, 265),
    # mounts and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "clone": (56, 220),
    "clone3": (435, 435),
    # parts of the kernel by which others are watched or filters are passed by
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "socket": (41, 198),
    "socketpair": (53, 199),
    # the whole machine
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "settimeofday": (164, 170),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "iopl": (172, None),
    "ioperm": (173, None),
    # cores and pages that are shared with other processes
    "prctl": (157, 167),
    "madvise": (28, 233),
    "fallocate": (285, 47),
    # for our own use
    "seccomp": (317, 277),
    "sched_getattr": (315, 275),
    "ioprio_get": (252, 31),
}
"""Numbers on x86-64 (asm/unistd_64.h) and on 64-bit ARM (asm-generic/unistd.h); None where there is no such call."""

FIRST_UNKNOWN = 470
"""Calls from this number on are newer than this table (Linux 6.17), and answered as by a kernel that has none: whoever
makes them can do without. Both machines number new calls alike."""

_MACHINES = {"x86_64": 0, "aarch64": 1}


@dataclass(frozen=True)
class Rule:
    """A call that is refused where one of its arguments, as a number of 32 bits, is not as it should be."""

    call: str
    argument: int
    """The position, from 0."""
    only: tuple[int, ...] = ()
    """The values that are allowed; empty for all but those of `never`."""
    never: tuple[int, ...] = ()
    """Values that are refused."""
    bits: int = 0
    """Bits none of which may be set."""


_OURS = frozenset(("seccomp", "sched_getattr", "ioprio_get"))
"""Calls that are here for their numbers only."""

NOT_THERE = ("clone3",)
"""Calls that are answered as by a kernel that has none (ENOSYS): its arguments lie in memory, where no filter can look,
and the C library then takes `clone`."""

_NEW_NAMESPACES = 0x7E02_0000
"""The CLONE_NEW* of sched.h."""

_F_SETOWN, _F_SETSIG, _F_SETOWN_EX = 8, 10, 15
_F_SETLEASE, _F_SETDELEG = 1024, 1040
"""With a lease on a file, others wait 45 s to open it: the judge, and all other programs."""
_FIOSETOWN, _SIOCSPGRP, _TIOCSTI, _TIOCLINUX = 0x8901, 0x8902, 0x5412, 0x541C
"""Who gets a signal for a descriptor; typing into a terminal."""

_OF_FILES = (0x4008_6602, 0x401C_5820, 0x4008_7602, 0x4080_6685, 0x800C_6613)
"""FS_IOC_SETFLAGS (such as: each write waits for the disk), FS_IOC_FSSETXATTR, FS_IOC_SETVERSION, FS_IOC_ENABLE_VERITY
and FS_IOC_SET_ENCRYPTION_POLICY of fs.h, for which it is enough that a file was opened to be read."""

_AF_UNIX = 1
_SOCK_STREAM, _SOCK_SEQPACKET = 1, 5
_SOCK_NONBLOCK, _SOCK_CLOEXEC = 0x800, 0x8_0000
_STREAMS = tuple(
    kind | block | close
    for kind in (_SOCK_STREAM, _SOCK_SEQPACKET)
    for block in (0, _SOCK_NONBLOCK)
    for close in (0, _SOCK_CLOEXEC)
)
_PR_SCHED_CORE = 62
_MADV_REMOVE, _MADV_HWPOISON, _MADV_SOFT_OFFLINE = 9, 100, 101
_FALLOC_FL_PUNCH_HOLE = 1 << 1
"""To punch a hole into shared memory, which `MADV_REMOVE` does as well. Whoever reads there waits until it is made, as
long as the one who makes it likes: the judge would wait for an answer whose call it has drawn, until it is there."""

_PRIO_USER = 2
_IOPRIO_WHO_USER = 3


def rules(pid: int, *, signals: bool, sockets: bool) -> tuple[Rule, ...]:
    """The rules of the process `pid` and of all that it starts; `signals`: whether they hold for signals, too;
    `sockets`: whether for sockets by which services of this machine are reached.

    A filter sees numbers, and can't tell which threads are the process's own: it may set how a thread is scheduled for
    the calling one (0) and for its main thread, and for no other.
    """
    own = (0, pid)
    found = [
        Rule("prlimit64", 0, own),
        *(Rule(name, 0, own) for name in ("sched_setaffinity", "sched_setscheduler", "sched_setparam")),
        *(Rule(name, 0, own) for name in ("sched_setattr", "migrate_pages", "move_pages")),
        Rule("setpriority", 0, never=(_PRIO_USER,)),
        Rule("setpriority", 1, own),
        Rule("ioprio_set", 0, never=(_IOPRIO_WHO_USER,)),
        Rule("ioprio_set", 1, own),
        Rule("fcntl", 1, never=(_F_SETOWN, _F_SETSIG, _F_SETOWN_EX, _F_SETLEASE, _F_SETDELEG)),
        Rule("ioctl", 1, never=(_FIOSETOWN, _SIOCSPGRP, _TIOCSTI, _TIOCLINUX, *_OF_FILES)),
        Rule("clone", 0, bits=_NEW_NAMESPACES),
        Rule("prctl", 0, never=(_PR_SCHED_CORE,)),
        Rule("madvise", 2, never=(_MADV_REMOVE, _MADV_HWPOISON, _MADV_SOFT_OFFLINE)),
        Rule("fallocate", 1, bits=_FALLOC_FL_PUNCH_HOLE),
    ]
    if signals:
        found += [
            Rule("kill", 0, (0, pid, -pid & 0xFFFF_FFFF)),
            *(Rule(name, 0, (pid,)) for name in ("tkill", "tgkill", "rt_sigqueueinfo", "rt_tgsigqueueinfo")),
        ]
    if sockets:
        found.append(Rule("socket", 0, never=(_AF_UNIX,)))
        # One of a pair of datagram sockets could be connected to a service instead; a stream is connected for good.
        found.append(Rule("socketpair", 1, _STREAMS))
    return tuple(found)


def refused(*, signals: bool) -> tuple[str, ...]:
    """Calls that are refused whatever their arguments are; `signals`: whether signals are among them."""
    others = {rule.call for rule in rules(0, signals=True, sockets=True)} | {*NOT_THERE, *_OURS}
    others |= set() if signals else {"pidfd_send_signal"}
    return tuple(name for name in NUMBERS if name not in others)


def number(name: str) -> int | None:
    """The number of a call on this machine; None where it has none, or where the machine is another one."""
    column = _MACHINES.get(platform.machine()) if os.name == "posix" else None
    return None if column is None else NUMBERS[name][column]
