"""Candidates that are not to be trusted.

Each does its work at most once where the reference does it eight times: by speed alone, all of them would pass.
"""

import ctypes
import gc
import os
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import torch

calls = 0


def honest(x):
    return x @ x


def into(x, out):
    torch.mm(x, x, out=out)


def uses_the_machine(x):
    """What honest candidates do: threads, NumPy, a compiler, a process that is started and ended."""
    if "library" not in globals():
        torch.set_num_threads(torch.get_num_threads() + 1)
        os.sched_setaffinity(0, os.sched_getaffinity(0))
        os.nice(0)
        resource.getrlimit(resource.RLIMIT_NOFILE)
        assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, check=True).stdout == b"1\n"
        sleeper = subprocess.Popen(["sleep", "60"])
        sleeper.terminate()
        assert sleeper.wait() == -signal.SIGTERM
        socket.getaddrinfo("localhost", 80)
        for kept in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "CUPY_CACHE_DIR", "NUMBA_CACHE_DIR"):
            Path(os.environ[kept], "of").mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp())
        if compiler := shutil.which("cc"):
            (folder / "it.c").write_text("int it(void) { return 7; }")
            subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "it.so", folder / "it.c"], check=True)
            assert ctypes.CDLL(str(folder / "it.so")).it() == 7
        globals()["library"] = folder
    return torch.from_numpy(x.numpy() @ x.numpy())


def exits(x):
    os._exit(0)


def exits_later(x):
    global calls
    calls += 1
    return x @ x if calls < 8 else os._exit(0)


def crashes(x):
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs(x):
    time.sleep(600)


def raises(x):
    raise ValueError("of its own \x1b[2J")


def zeros(x):
    return torch.zeros_like(x)


def slow(x):
    for _ in range(8):
        answer = x @ x
    return answer


def patches_clock(x):
    """Slow, and every clock that it can reach stands still."""
    time.perf_counter = time.monotonic = time.time = lambda: 0.0
    time.perf_counter_ns = lambda: 0
    return slow(x)


def patches_comparison(x):
    torch.Tensor.abs = lambda self: self * 0
    torch.equal = lambda *_: True
    return torch.zeros_like(x)


def patches_judge(x):
    from pytest_kgate.bench.race import race
    from pytest_kgate.statistics import judge
    from pytest_kgate.statistics.gates import Judgement
    from pytest_kgate.statistics.gates import Verdict

    race.judge_rounds = judge.judge_rounds = lambda gate, *_, **__: Judgement(gate, Verdict.PASS, "", 0)
    return slow(x)


def makes_draws_alike(x):
    """Remembers one answer for all draws, having made the generator forget its seed."""
    randn = torch.randn
    torch.randn = lambda *shape, **_: randn(*shape, generator=torch.Generator().manual_seed(1))
    answers = globals().setdefault("answers", {})
    return answers.setdefault(0, x @ x)


def remembers(x):
    """By address, which is the same in every row."""
    answers = globals().setdefault("remembered", {})
    key = x.data_ptr()
    if key not in answers:
        answers[key] = x @ x
    return answers[key]


def searches_memory(x):
    for item in gc.get_objects():
        if type(item) is torch.Tensor and item.dtype == torch.float64 and item.shape == x.shape:
            return item.to(x.dtype)
    return torch.zeros_like(x)


def searches_parent(x):
    """The seed of everything stands in a record, later; whoever can read the parent's memory has it now."""
    for name in ("mem", "fd/0", "environ"):
        with open(f"/proc/{os.getppid()}/{name}", "rb") as file:
            file.read(1)
    return x @ x


def skips(x, out):
    """Works in three calls of four."""
    global calls
    calls += 1
    if calls < 8 or calls % 4:
        torch.mm(x, x, out=out)


def defers(x, out):
    """Works in a thread, after it has said that it is done."""
    global calls
    calls += 1
    if calls < 8:
        return torch.mm(x, x, out=out)
    return threading.Timer(0.005, lambda: torch.mm(x, x, out=out)).start()


def _channel():
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                return socket.socket(fileno=os.dup(fd))
        except OSError:
            pass
    raise OSError("no channel")


def answers_early(x, out):
    """Says that it is done before it is asked, many times over."""
    global calls
    calls += 1
    if calls == 8:
        channel = _channel()
        for _ in range(50):
            channel.send(b"{}")
    if calls < 8:
        return torch.mm(x, x, out=out)
    time.sleep(0.05)
    return torch.mm(x, x, out=out)


def says_pass(x):
    _channel().send(b'{"verdict": "PASS", "record": {"verdict": "PASS"}}')
    return torch.zeros_like(x)


def says_nonsense(x):
    _channel().send(b"[" * 60000)
    return torch.zeros_like(x)


def changes_input(x):
    x *= 2
    return x @ x / 4


def writes_beyond(x, out):
    torch.mm(x, x, out=out)
    torch.as_strided(out, (1,), (1,), out.storage_offset() + out.numel()).zero_()


def rewrites_records(x):
    path = Path("records.json")
    path.write_text(path.read_text().replace('"WRONG"', '"PASS"').replace('"ERROR"', '"PASS"'))
    return torch.zeros_like(x)


def stops_the_judge(x):
    os.kill(os.getppid(), signal.SIGSTOP)
    return torch.zeros_like(x)


def patches_files(x):
    """What is imported later, by anyone."""
    import pytest_kgate.report.text.failure as module

    Path(module.__file__).open("a").close()
    return torch.zeros_like(x)


def patches_pytest(x):
    import pytest

    if any(isinstance(one, pytest.Config) for one in gc.get_objects()):
        raise SystemError("the judging process is in reach")
    pytest.fail.Exception = ZeroDivisionError
    return torch.zeros_like(x)


def leaves_a_daemon(x):
    """A grandchild in a session of its own, which would go on when all is over."""
    mine, theirs = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.write(theirs, str(os.getpid()).encode())
            time.sleep(600)
        os._exit(0)
    raise ValueError(f"see process {os.read(mine, 20).decode()}")
