"""A repository with 13 commits of one kernel, one of which made it slower; see bisect.sh.

Each commit changes the kernel's text, as commits do, so that each has a build of its own; but one of them the machine
code is the same throughout. The culprit changes the default of a knob:

- `latency` (cuda): each thread waits 160 cycles before it begins, of the 8,000 that 1x8x512x64 takes on an H100: 2 %.
- `host`: half of the queries are worked on twice: 50 %.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CSRC = Path(__file__).parents[2] / "csrc"

WAIT = """
#ifndef WASTED_CYCLES  // knob: that each thread waits before it begins
#define WASTED_CYCLES 0
#endif
__device__ inline void waste() {
    if constexpr (WASTED_CYCLES > 0) {
        const long long start = clock64();
        while (clock64() - start < WASTED_CYCLES) {
        }
    }
}
"""

AGAIN = """
#ifndef TWICE  // knob: of 8 queries, those that are worked on twice
#define TWICE 0
#endif
static int attend(const kgate::SdpaArgs* args);
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void*) {
    if (args && args->seqlen >= 8 && TWICE > 0) {
        kgate::SdpaArgs part = *args;
        part.seqlen = args->seqlen * TWICE / 8;
        if (int code = attend(&part)) return code;
    }
    return attend(args);
}
static int attend(const kgate::SdpaArgs* args) {"""

PLANTED = {
    "cuda": (
        "kernels/latency.cu",
        {
            "\nnamespace kgate {\n": WAIT + "\nnamespace kgate {\n",
            "unsigned char shared[];\n": "unsigned char shared[];\n    waste();\n",
        },
        ("WASTED_CYCLES 0", "WASTED_CYCLES 160"),
        0.005,
        "float16",
    ),
    "host": (
        "host/host.cpp",
        {"KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void*) {": AGAIN},
        ("TWICE 0", "TWICE 4"),
        0.2,
        "float32",
    ),
}
"""Of each device: the source, what is put into its copy, the change of the culprit, the margin, the elements."""

TEST = """
import pytest
from pytest_kgate import Shape


@pytest.mark.regression(margin={margin})
def test_kernel(kbench, kernels, sdpa_oracle):
    kbench(kernels("{kernel}"), sdpa_oracle(Shape(1, 8, 512, 64), dtype="{dtype}"))
"""


def main(folder: Path, device: str, culprit: int) -> None:
    """Make the commits, and print the culprit's."""
    source, inserted, change, margin, dtype = PLANTED[device]
    text = (CSRC / source).read_text()
    for where, more in inserted.items():
        assert where in text, f"{source} has no {where.strip()!r} any more"
        text = text.replace(where, more)
    kernel = Path(source).name
    (folder / "test_chain.py").write_text(TEST.format(margin=margin, kernel=kernel, dtype=dtype))
    git(folder, "init", "-q")
    found = ""
    for number in range(13):
        text = text.replace(*change) if number == culprit else text
        (folder / kernel).write_text(f"{text}// Commit {number} of 12.\n")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", f"commit {number}")
        found = git(folder, "rev-parse", "--short=9", "HEAD") if number == culprit else found
    print(found)


def git(folder: Path, *arguments: str) -> str:
    """What git prints, as somebody whom its settings need not name."""
    who = {f"GIT_{who}_{what}": "chain" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    command = ["git", "-c", "commit.gpgsign=false", *arguments]
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **who}, check=True, stdout=subprocess.PIPE, text=True
    ).stdout.strip()


main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
