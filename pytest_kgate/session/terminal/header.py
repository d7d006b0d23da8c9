"""The line under the collected items: on what, and how, this session will time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_kgate.errors import KgateError
from pytest_kgate.report.format import counted

if TYPE_CHECKING:
    from pytest_kgate.session.session import Session


def session_line(session: Session) -> str:
    """One line: device, driver, torch, timer, cache, budget, seed."""
    options = session.options
    try:
        environment = session.device().environment()
    except KgateError as error:
        return f"kgate: {error.what}"
    gpu, cpu = environment.get("gpu"), environment.get("cpu")
    if gpu:
        device = f"{gpu['name']}, driver {gpu.get('driver', 'unknown')}"
    elif cpu:
        device = f"host {cpu['model']}, {counted(cpu['torch_threads'], 'thread')}"
    else:
        device = str(environment.get("device", "unknown device"))
    timer = options.timer if options.timer != "auto" else "graph or queue" if gpu else "wall"
    seed = "drawn for each call" if options.seed is None else str(options.seed)
    torch = session.environment["packages"].get("torch", "unknown")
    return (
        f"kgate: {device}, torch {torch}, timer {timer}, cache {options.cache}, "
        f"budget {options.budget:g} s, seed {seed}"
    )
