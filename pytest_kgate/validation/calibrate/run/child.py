"""The child process of a calibration: started by `python -m` with a JSON document, it prints one JSON line a gate.

A process is a unit of its own: memory layout, library heuristics and clocks that settle at start-up last as long as it,
and only a new process makes them anew. The first line tells what the process runs on; a line that says `error` is its
last. When the reader is gone the process ends too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_kgate.errors import KgateError
from pytest_kgate.report.record.values import now
from pytest_kgate.report.record.values import plain
from pytest_kgate.system.gpu_lease import leased
from pytest_kgate.system.provenance.environment import session_environment
from pytest_kgate.validation.calibrate.cases import named
from pytest_kgate.validation.calibrate.rigs.open import open_rig
from pytest_kgate.validation.calibrate.run.trial import Setting
from pytest_kgate.validation.calibrate.run.trial import Trials

_LEASE_SECONDS = 300.0

Emit = Callable[[dict[str, Any]], None]


def main(arguments: Sequence[str]) -> int:
    """Run the gates of one job, given as JSON: device, timer, cache, budget, process, seed, cases, recipes, until."""
    job = json.loads(arguments[0])
    # What kernels and libraries print must not get between the lines.
    lines = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)

    def emit(line: dict[str, Any]) -> None:
        lines.write(json.dumps(plain(line), allow_nan=False) + "\n")
        lines.flush()

    try:
        run(job, emit)
    except BrokenPipeError:
        os._exit(1)  # the reader is gone; nothing more can be said
    except KgateError as error:
        emit({"kind": "error", "what": error.what, "todo": error.todo})
        os._exit(1)  # the usual way out would wait for a kernel that hangs
    return 0


def run(job: dict[str, Any], emit: Emit) -> None:
    """Run the gates of the job that start before its `until` (seconds since the epoch; None for no end)."""
    rig = open_rig(job["device"])
    environment = {**session_environment(Path.cwd()), **rig.device.environment()}
    emit(
        {
            "kind": "process",
            "process": job["process"],
            "seed": job["seed"],
            "started": now(),
            "environment": environment,
        }
    )
    trials = Trials(rig, Setting(job["timer"], job["cache"], job["budget"]))
    for index, name in enumerate(job["cases"]):
        if job["until"] is not None and time.time() >= job["until"]:
            break
        case = named(rig.kind, name)
        seed = gate_seed(job["seed"], job["process"], index)
        with leased(rig.lease_name, _LEASE_SECONDS, lambda text: emit({"kind": "waiting", "text": text})):
            if not job["recipes"]:
                lines = [{"kind": "gate", **trials.run(case, seed)}]
            else:
                from pytest_kgate.validation.calibrate.run.other_rules import side_by_side

                lines = [{"kind": "comparison", **line} for line in side_by_side(trials, case, seed)]
        for line in lines:
            emit({**line, "process": job["process"], "index": index})
    emit({"kind": "end", "process": job["process"], "ended": now(), "environment": rig.device.environment()})


def gate_seed(seed: int, process: int, index: int) -> int:
    """The seed of one gate, which is its own and the same whenever the calibration is repeated."""
    import numpy as np

    # Nothing here is hidden from a candidate, and committed calibrations go on with the gates that they have.
    return int(np.random.SeedSequence([seed, process, index]).generate_state(1, np.uint32)[0] >> 1)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
