"""A search whose candidates a provider writes: whatever that answers, what is right and fast becomes the champion."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
import torch  # noqa: F401  (pytester forgets what its sessions import, and torch can't be imported twice)

from pytest_kgate import cli
from pytest_kgate.integrity.isolation.process.confinement.landlock import landlock_version
from pytest_kgate.search.journal.file import read
from pytest_kgate.search.journal.history import History
from pytest_kgate.search.prompts.judging import SourceJudge
from pytest_kgate.search.prompts.replies.stored import Replies
from pytest_kgate.search.prompts.replies.stored import folder_of
from pytest_kgate.search.prompts.replies.stored import id_of
from pytest_kgate.search.verbs import sources

TESTS = """
import pytest
import torch
from pytest_kgate import Problem

def many_times(q, k, v):
    for _ in range(400):
        answer = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    return answer

SMALL = Problem(
    name="small",
    inputs=lambda g: tuple(torch.randn(1, 2, 24, 8, generator=g) for _ in range(3)),
    reference=many_times,
    exact=lambda q, k, v: torch.softmax(q.double() @ k.double().transpose(-1, -2) / 8**0.5, -1) @ v.double(),
)

@pytest.mark.allclose(1e-4)
@pytest.mark.speedup(0.9)
def test_it(kbench):
    kbench(many_times, SMALL)
"""

CONFTEST = """
import torch
from pytest_kgate.integrity.isolation import stopwatch

stopwatch._ROW_SECONDS = {"host": 0.0}  # one call a row: the reference's takes far longer than a process needs to wake
torch.set_num_threads(1)
"""

KERNEL = """
#include "sdpa.h"
#include <cmath>
KGATE_EXPORT int kgate_sdpa(const kgate::SdpaArgs* args, void*) {
    FIRST
    const float *q = (const float*)args->q, *k = (const float*)args->k, *v = (const float*)args->v;
    for (int row = 0; row < 48; ++row) {
        const int keys = row / 24 * 24;
        float answer[8] = {}, sum = 0;
        for (int key = keys; key < keys + 24; ++key) {
            float score = 0;
            for (int i = 0; i < 8; ++i) score += q[row * 8 + i] * k[key * 8 + i];
            const double weight = std::exp(double(score * args->scale));
            sum += weight;
            for (int i = 0; i < 8; ++i) answer[i] += weight * v[key * 8 + i];
        }
        for (int i = 0; i < 8; ++i) ((float*)args->o)[row * 8 + i] = answer[i] / sum FACTOR;
    }
    return 0;
}
KGATE_EXPORT const char* kgate_message(void) { return ""; }
"""

HANGS = "for (volatile int i = 0;; i = 1) {}"


def source(first="", factor=""):
    return f"```cpp\n{KERNEL.replace('FIRST', first).replace('FACTOR', factor)}```\n"


REPLIES = (
    f"It makes one pass over the keys.\n\nflags: -O2\n\n{source()}",
    "```cpp\nint x = y;\n```\n",
    source(factor="* 2"),
    source(first="static int calls = 0; if (++calls > 12 && calls % 3) return 0;"),  # no work in two of three calls
    source(first=HANGS),
    '```cpp\n#define THEIRS "../private.h"\n#include THEIRS\n```\n',
    "x" * 5_000_000,
    "",
)


class HurriedJudge(SourceJudge):
    """Gives the one that hangs few seconds, and the others what a busy machine may need."""

    def screen(self, configuration, rounds):
        order = super().screen(configuration, rounds)
        hangs = HANGS in self.replies.get(id_of(configuration)).source
        return dataclasses.replace(order, limit_seconds=2.0) if hangs else order


@pytest.mark.skipif(sys.platform != "linux" or not landlock_version(), reason="needs Linux with Landlock")
def test_the_good_one_of_eight_replies_is_champion_and_each_is_told(warm, build_cache, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, value in {"KGATE_CACHE_DIR": build_cache, "KGATE_DEVICE": "host"}.items():
        monkeypatch.setenv(name, str(value))
    Path("test_it.py").write_text(TESTS)
    Path("conftest.py").write_text(CONFTEST)
    Path("private.h").write_text("#error planted\n")
    for number, reply in enumerate(REPLIES):
        Path(f"{number}.txt").write_text(reply)
    Path("provider.sh").write_text("n=$(ls prompt.* 2>/dev/null | wc -l); cat > prompt.$n; exec cat $n.txt\n")
    monkeypatch.setattr(sources, "SourceJudge", HurriedJudge)
    options = ["--provider", "/bin/sh provider.sh", "--evaluations", "8", "--processes", "1"]
    # A busy machine may need more than the usual seconds of a race.
    status = cli.main(["search", "test_it.py::test_it", *options, "--pytest=--kgate-budget=300"])
    said = capsys.readouterr().out
    assert status == 0, said

    history = History.of(read(Path("search.jsonl")))
    trials, replies = history.trials(), Replies(folder_of(Path("search.jsonl")))
    told = [(trial.state, trial.reason) for trial in trials]
    states = [state for state, _ in told]
    assert states[:3] == ["raced", "unbuildable", "wrong"], told
    assert states[3] in ("cheats", "wrong"), told
    assert states[4:] == ["timeout", "unbuildable", "refused", "refused"], told
    assert "error: 'y' was not declared" in told[1][1]
    assert "private.h, which a source that is not trusted may not" in told[5][1]
    assert [reason for _, reason in told[6:]] == ["The reply is longer than 1,048,576 bytes.", "The reply is empty."]
    good = trials[0]
    assert history.champion is not None
    assert history.champion.configuration == good.configuration
    assert all(high < 0.9 for _, _, high in history.champion.ratios.values())
    assert f"Champion: search.replies/{good.source}.cpp, test_it 0." in said
    assert [line.split()[1] for line in said.splitlines()[:8]] == states
    assert len(replies) == 8
    last = Path("prompt.7").read_text()
    assert "latency ratio to the reference below 0.90" in last
    assert f"The parent to change: {good.source}" in last
    assert "It makes one pass over the keys." in last
    assert all(trial.source in last for trial in trials[:6])
    assert "planted" not in last
