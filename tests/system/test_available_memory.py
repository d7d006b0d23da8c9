"""How much memory the host has left: of the machine, or of the container."""

from __future__ import annotations

import pytest

from pytest_kgate.system.procfs import available_memory


def machine(root, files):
    for name, text in {"proc/meminfo": "MemTotal: 64 kB\nMemAvailable: 40 kB\n", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({}, 40),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}, 40),
        (
            {
                "proc/self/cgroup": "0::/job/step\n",
                "sys/fs/cgroup/job/memory.max": "30720",
                "sys/fs/cgroup/job/memory.current": "20480",
                "sys/fs/cgroup/job/memory.stat": "anon 1\ninactive_file 5120\n",
            },
            15,
        ),
        (
            {
                "proc/self/cgroup": "9:cpu:/\n4:memory:/box\n0::/\n",
                "sys/fs/cgroup/memory/box/memory.limit_in_bytes": "8192",
                "sys/fs/cgroup/memory/box/memory.usage_in_bytes": "1024",
                "sys/fs/cgroup/memory/box/memory.stat": "cache 0\n",
            },
            7,
        ),
    ],
    ids=["a machine", "no limit", "a limit above", "an old container"],
)
def test_the_tightest_limit_counts(tmp_path, files, left):
    assert available_memory(machine(tmp_path, files)) == left * 1024


def test_a_system_that_tells_nothing_is_none(tmp_path):
    assert available_memory(tmp_path) is None
