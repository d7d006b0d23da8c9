"""A user's tests that judge candidates, and candidates that do all there is to do wrong."""

from __future__ import annotations

TESTS = """
import pytest
import torch
from pytest_kgate import Problem

RELU = Problem("relu", lambda g: (torch.randn(4096, generator=g),), torch.relu, lambda x: torch.relu(x.double()))
ZERO = Problem("zero", lambda g: (torch.zeros(4096),), torch.relu, lambda x: torch.relu(x.double()))

@pytest.mark.perf(budget=0.5)
@pytest.mark.speedup(50.0)
def test_it(kbench, kernels):
    kbench(kernels("wmma"), RELU)

@pytest.mark.speedup(0.9)
def test_fast(kbench):
    kbench(torch.relu, RELU, budget=0.5)

@pytest.mark.speedup(0.0001)
def test_twice(kbench):
    kbench.soft(torch.relu, RELU, speedup=50.0, budget=0.5)
    kbench.soft(torch.relu, RELU, speedup=0.001, budget=0.5)

@pytest.mark.speedup(1.0)
def test_undecided(kbench):
    kbench(torch.relu, RELU, budget=0.001)

@pytest.mark.speedup(50.0)
def test_weak(kbench):
    kbench(torch.relu, ZERO, budget=0.5)

@pytest.mark.speedup(50.0)
@pytest.mark.resources(registers=64)
def test_limited(kbench):
    kbench(torch.relu, RELU, budget=0.5)

def test_more(kbench):
    kbench(torch.relu, RELU, speedup=50.0, budget=0.5)
    assert not "more than the gate"

def test_without():
    pass

def test_broken(kbench, nothing_of_the_kind):
    kbench(torch.relu, RELU)
"""

CANDIDATES = """
import ctypes
import os
import subprocess
import sys
import time

import torch

def good(x):
    return torch.relu(x)

def slow(x):
    for _ in range(20):
        torch.relu(x)
    return torch.relu(x)

def wrong(x):
    return x * 1.0

def raises(x):
    raise ValueError("no such thing")

def endless(x):
    while True:
        pass

def stuck(x):
    sum(range(10**15))

def crashes(x):
    ctypes.string_at(0)

def exits(x):
    os.kill(os.getpid(), 0)
    ctypes.CDLL(None)._exit(0)

def forever(x):
    name = os.environ["WHO"]
    with open(f"{name}.new", "w") as file:
        file.write(str(os.getpid()))
    os.replace(f"{name}.new", name)
    sum(range(10**15))

def leaves(x):
    sys.exit(0)

def interrupts(x):
    raise KeyboardInterrupt

def talks(x):
    os.write(1, b"much ado " * 100_000)
    print("about nothing " * 100_000)
    return torch.relu(x)

def greedy(x):
    return torch.empty(2**50)

def forks(x):
    subprocess.Popen(["setsid", "sleep", "600"])
    return x * 1.0

def damages(x):
    folder = os.path.dirname(os.environ["TMPDIR"])
    for name in ("records.json", "notes.jsonl"):
        with open(os.path.join(folder, name), "w") as file:
            file.write('7\\n{"step": []}\\n{"step": "time"}\\n')
    ctypes.CDLL(None)._exit(0)

def cheats(x):
    time.sleep = lambda seconds: None
    return torch.relu(x)
"""
