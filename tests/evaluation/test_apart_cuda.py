"""`kgate measure` and `kgate gate` on a GPU: a fast kernel passes against SDPA, and SDPA does not against itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_kgate import cli

pytestmark = pytest.mark.gpu


def measure(name: str, *what: str) -> str:
    command = ["measure", *what, "--shape", "1x8x512x64", "--iters", "480", "--processes", "3", "--json", name]
    assert cli.main(command) == 0
    return name


def test_latency_passes_against_sdpa_and_sdpa_does_not_against_itself(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    sdpa, again = (measure(name, "--sdpa", "fastest") for name in ("sdpa.json", "again.json"))
    mine = measure("mine.json", "--impl", "latency")
    capsys.readouterr()
    assert cli.main(["gate", sdpa, mine, "--speedup", "0.95", "--alpha", "0.05"]) == 0
    assert "PASS: latency against sdpa" in capsys.readouterr().out
    assert cli.main(["gate", sdpa, again, "--speedup", "0.95", "--alpha", "0.05"]) == 1


def test_other_timers_and_caches_are_measured_and_not_compared(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    few = ["measure", "--impl", "latency", "--shape", "1x8x512x64", "--iters", "240"]
    for timer, cache in (("graph", "hot"), ("queue", "hot"), ("graph", "cold"), ("eager", "hot")):
        assert cli.main([*few, "--timer", timer, "--cache", cache, "--json", f"{timer}-{cache}.json"]) == 0
        assert f"{timer} timer, {cache} cache" in capsys.readouterr().out
    assert cli.main(["gate", "graph-hot.json", "queue-hot.json"]) == 2
    assert "differ in their timer" in capsys.readouterr().err
    assert cli.main(["gate", "graph-hot.json", "graph-cold.json"]) == 2
    assert "differ in their cache" in capsys.readouterr().err
    assert Path("eager-hot.json").is_file()
