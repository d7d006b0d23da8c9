"""From `--executor` to a pool: this machine, a Dask cluster, or an executor that a function of the user's makes."""

from __future__ import annotations

import importlib
import sys
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.search.running.executors.local import LocalPool
from pytest_kgate.search.running.executors.remote import ExecutorPool

if TYPE_CHECKING:
    from pytest_kgate.search.running.executors.pool import Pool

HELP = (
    "where evaluations run: local; dask:tcp://HOST:PORT, whose workers were started with --resources GPU=1; or "
    "MODULE:FUNCTION, which returns a concurrent.futures.Executor"
)

_FORMS = "Write local, dask:tcp://HOST:PORT, or MODULE:FUNCTION."

_DASK_SECONDS = "10s"
"""For the scheduler to answer."""


def open_pool(spec: str, jobs: int | None) -> Pool:
    """The pool that an executor's name asks for; `jobs` None is one here, and elsewhere as many as it has workers.

    Raises `UsageError` for one that can't be had.
    """
    if spec == "local":
        return LocalPool(jobs or 1)
    kind, _, rest = spec.partition(":")
    if kind == "dask":
        return _dask(rest, jobs)
    if not rest.isidentifier():
        raise UsageError(f"There is no executor {spec!r}.", _FORMS)
    make = _named(kind, rest)
    first = make()
    if not isinstance(first, Executor):
        raise UsageError(f"{spec} returns no concurrent.futures.Executor, but {type(first).__name__}.", _FORMS)
    workers: int = getattr(first, "_max_workers", 1)  # as both pools of the standard library have it
    made = iter([first])
    return ExecutorPool(lambda: next(made, None) or make(), jobs or workers)


def _named(module: str, function: str) -> Any:
    """A function of the user's, from where `python -m` would find it."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"There is no executor {module}:{function}: {error}.", _FORMS) from error


def _dask(address: str, jobs: int | None) -> ExecutorPool:
    """Tasks that each take a worker's GPU: so a worker runs one at a time, and one without a GPU none."""
    try:
        from distributed import Client  # here, since it is an extra, and takes half a second
    except ImportError as error:
        raise UsageError(
            f"Dask can't be imported: {error}.", "Install it, here and with the workers: pip install pytest-kgate[dask]"
        ) from error
    try:
        client = Client(address, timeout=_DASK_SECONDS, set_as_default=False)
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
    except (OSError, ValueError) as error:
        raise UsageError(f"There is no scheduler of Dask at {address}: {error}.", _FORMS) from error
    gpus = sum(int(worker["resources"].get("GPU", 0)) for worker in workers)
    if not gpus:
        client.close()
        raise UsageError(
            f"None of the {len(workers)} workers at {address} has a GPU to give.",
            "Start one for each GPU: CUDA_VISIBLE_DEVICES=0 dask worker SCHEDULER --nthreads 1 --resources GPU=1",
        )
    # pure=False: the same evaluation twice is two measurements. A worker that dies has its task run by another one.
    return ExecutorPool(lambda: client.get_executor(pure=False, resources={"GPU": 1}), jobs or gpus, client.close)
