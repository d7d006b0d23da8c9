"""The catalogue of cheats, candidates that try to pass without deserving it: what each does, and what must stop it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Unchecked = Literal["where caught", "test", "own"]

FOLDER = Path(__file__).with_name("candidates")
"""Where each has a file of its name."""

_NEW_VALUES = "a timed call with new values"

_RANKS = "ranks of calls on new values"

_TIMED = "outputs of timed calls are verified"

_PUT_BACK = "settings are compared and put back"

BOTH = ("host", "cuda")
HOST = ("host",)
CUDA = ("cuda",)


@dataclass(frozen=True)
class Cheat:
    """One candidate that tries to pass without deserving it, and what is expected to become of it."""

    file: str
    """In `FOLDER`."""

    does: str
    """One clause for the table."""

    stopped_by: str
    """The check that stops it, for the table; for one that no check within its process stops, what does."""

    devices: tuple[str, ...] = BOTH

    caught: bool = True
    """Whether the checks within the process stop it."""

    honest_is_slow: bool = False
    """Whether the reference is the usual one, so that the cheat must work to pass; else the reference does its work
    four times, and the candidate would pass by its speed alone."""

    works: bool = False
    """Whether it does all the timed work where it has a process of its own. It has then gained nothing, and must be
    judged like an honest candidate: against the usual reference, which it is not faster than."""

    isolated: bool = True
    """Whether a process of its own stops it."""

    unchecked: Unchecked = "where caught"
    """Where it is run without the checks: in the test's process where they caught it, in the test's process, or in a
    process of its own, where nothing of its timed calls is verified then."""

    shapes: tuple[str, str] = ("Shape(1, 4, 128, 64)", "Shape(1, 4, 128, 64)")
    """On the host: in the test's process, and in one of its own, where a row holds the way there and back."""

    @property
    def name(self) -> str:
        """The file's name; of a Python module without its suffix."""
        return Path(self.file).name.removesuffix(".py")


CATALOGUE: tuple[Cheat, ...] = (
    Cheat("stale_memory.py", "returns memory that was just freed", "outputs are poisoned"),
    Cheat("changes_inputs.py", "scales its inputs in place", "inputs are compared with a copy"),
    Cheat("replay_pointer.py", "remembers answers by address", _NEW_VALUES),
    Cheat("replay_id.py", "remembers answers by the tensor's identity", _NEW_VALUES),
    Cheat(
        "replay_version.py",
        "remembers answers until PyTorch says that inputs changed",
        _NEW_VALUES,
        works=True,
    ),
    Cheat(
        "replay_values.py",
        "remembers answers by a fingerprint of the values",
        "new values take longer",
        works=True,
    ),
    Cheat(
        "replay_transformed.py",
        "remembers answers, and changes them along with values that were moved or have another sign",
        "new values take longer",
        works=True,
    ),
    Cheat(
        "replay_bursts.py",
        "remembers answers by the values, and works for show now and then",
        _RANKS,
        HOST,
        works=True,
    ),
    Cheat(
        "replay_bursts.cu",
        "remembers its latest answer on the device, and works for show now and then",
        _RANKS,
        CUDA,
    ),
    Cheat(
        "stale_row.py",
        "returns memory that was just freed, if one row of it is right",
        "freed memory is overwritten",
        HOST,
        honest_is_slow=True,
    ),
    Cheat(
        "finds_values.py",
        "looks for the values of later calls in memory",
        "values are drawn right before they are timed",
        HOST,
        honest_is_slow=True,
    ),
    Cheat(
        "writes_denormals.py",
        "writes denormals to its inputs while it is timed",
        "inputs are compared with a copy",
        HOST,
        works=True,
    ),
    Cheat(
        "sleepy_inputs.py",
        "gives its inputs a class whose functions sleep",
        "inputs are compared with a copy",
        HOST,
        honest_is_slow=True,
        works=True,
    ),
    Cheat(
        "changes_lengths.py",
        "changes the stopwatch's count of calls",
        "counts are read once a round",
        works=True,
        honest_is_slow=True,
    ),
    Cheat("replay_buffer.py", "copies its latest answer out of a buffer", _NEW_VALUES),
    Cheat("replay_native.cpp", "remembers answers by address, in C++", _NEW_VALUES, HOST),
    Cheat("replay_native.cu", "remembers answers by address, in CUDA", _NEW_VALUES, CUDA),
    Cheat("batches_calls.py", "does eight calls' work in one", _TIMED),
    Cheat("defers_work.py", "does a call's work in the next one", _TIMED, works=True),
    Cheat("counts_calls.py", "works in its first thirty calls only", _TIMED),
    Cheat("looks_at_caller.py", "works only where the oracle calls it", _TIMED),
    Cheat("skips_in_graph.py", "launches every other call of a captured graph", "kernels are counted", CUDA),
    Cheat("side_stream.py", "works on a stream of its own", "the held stream", CUDA, works=True),
    Cheat("side_stream.cu", "works on a stream of its own, in CUDA", "the held stream", CUDA, works=True),
    Cheat(
        "overlaps_calls.cu",
        "begins before the call ahead of it has ended",
        "calls one at a time",
        CUDA,
        isolated=False,
    ),
    Cheat(
        "forks_early.py",
        "does two calls' work at the same time in a captured graph",
        _TIMED,
        CUDA,
        isolated=False,
    ),
    Cheat("works_in_thread.py", "works in a thread after the call", _TIMED, HOST),
    Cheat("disturbs_reference.py", "keeps a core busy meanwhile", "busy threads", HOST, works=True),
    Cheat("lazy_subclass.py", "returns a tensor that computes when read", "only plain tensors are taken"),
    Cheat("lazy_array.py", "returns an array that computes when read", "only known arrays are taken"),
    Cheat(
        "named_library.py", "returns one whose module has a library's name", "only arrays of installed libraries", HOST
    ),
    Cheat("patch_clock.py", "replaces `time.perf_counter`", "originals", works=True),
    Cheat("patch_event.py", "replaces `torch.cuda.Event.elapsed_time`", "originals", CUDA, works=True),
    Cheat("patch_synchronize.py", "replaces `torch.cuda.synchronize`", "originals", works=True),
    Cheat("patch_comparison.py", "answers zeros, and replaces `Tensor.abs`", "originals"),
    Cheat("patch_judge.py", "replaces the function that judges", "originals", works=True),
    Cheat("patch_random.py", "makes all draws the same", "originals", works=True),
    Cheat("patch_method.py", "answers zeros, and hides `Tensor.nan_to_num_`", "originals"),
    Cheat("patch_reference.py", "replaces what the reference calls by something slow", "originals", works=True),
    Cheat("override_operator.py", "answers zeros, and takes over `aten::nan_to_num_`", "originals"),
    Cheat("open_mode.py", "leaves a slow mode of PyTorch open", "originals", works=True),
    Cheat("changes_closure.py", "writes into the reference's closure", "originals", works=True),
    Cheat("changes_bound.py", "sets the gate's bound to 100", "originals", works=True, honest_is_slow=True),
    Cheat(
        "blinds_reference.py",
        "slows the reference down, and replaces what looks for that",
        "a clean process",
        works=True,
        honest_is_slow=True,
    ),
    Cheat(
        "ends_clean_process.py",
        "does so, and ends the process that would show it",
        "a clean process",
        HOST,
        works=True,
        honest_is_slow=True,
    ),
    Cheat("traces_judge.py", "has a trace function change its time", "races are not traced", HOST, works=True),
    Cheat("verdict_report.py", "answers zeros, rewrites the test's report", "reports are compared"),
    Cheat("verdict_swallowed.py", "answers zeros, swallows the gate's failure", "records and reports are compared"),
    Cheat("verdict_unraised.py", "answers zeros, has no failure raised", "records and reports are compared"),
    Cheat("verdict_status.py", "answers zeros, and sets the exit status to 0", "the exit status is set last"),
    Cheat("verdict_late.py", "does so once the session has finished", "the exit status is set last"),
    Cheat("verdict_records.py", "answers zeros, edits the file of records", "the file is compared"),
    Cheat("exits.py", "ends the process with status 0", "`os._exit(0)` raises there"),
    Cheat(
        "exits_natively.py",
        "ends the process with status 0 in native code",
        "a parent process: `--kgate-isolate`",
        caught=False,
    ),
    Cheat("predicts_seed.py", "knows the answers of usual seeds", "seeds are secret", honest_is_slow=True),
    Cheat("searches_memory.py", "looks for the exact answer in memory", "it is computed afterwards"),
    Cheat("other_threads.py", "leaves PyTorch too many threads", _PUT_BACK, HOST, works=True),
    Cheat("other_precision.py", "leaves another matmul precision", _PUT_BACK, works=True),
    Cheat("other_autograd.py", "leaves autograd looking for anomalies", _PUT_BACK, HOST, works=True),
    Cheat("sets_malloc.py", "has malloc take large blocks from the system anew", _PUT_BACK, HOST, works=True),
    Cheat("sets_malloc_early.py", "does so when it is imported", "malloc is tried before", HOST, works=True),
    Cheat("sets_linux.py", "leaves no huge pages, and late timers", _PUT_BACK, HOST, works=True),
    Cheat("allocator_limit.py", "leaves a limit on GPU memory", _PUT_BACK, CUDA, works=True),
    Cheat("allocator_pool.py", "leaves PyTorch's allocator a pool of its own", _PUT_BACK, CUDA, works=True),
    Cheat(
        "graph_pool.py",
        "keeps a graph with 40 % of the GPU's memory",
        "memory is compared",
        CUDA,
        works=True,
    ),
    Cheat("persisting_l2.py", "keeps a part of the L2 cache", _PUT_BACK, CUDA, works=True),
    Cheat(
        "own_library.py",
        "calls PyTorch's attention as its own",
        "the names of what it launches",
        isolated=False,
    ),
    Cheat(
        "own_library_thread.py",
        "has a thread call PyTorch's attention, as its own",
        "the names of what it launches",
        HOST,
        isolated=False,
    ),
    Cheat("writes_beyond.cpp", "writes behind its output", "guard zones", HOST),
    Cheat("writes_beyond.cu", "writes behind its output, in CUDA", "guard zones", CUDA),
    Cheat("reads_beyond.cpp", "reads behind its inputs", "guard zones", HOST),
    Cheat(
        "slow_host.py",
        "spends 5 ms on the host in each call",
        "the host's time of a call",
        CUDA,
        isolated=False,
    ),
)  # fmt: skip

HONEST = Cheat("plain.py", "is honest", "nothing: it passes", caught=False)


def chosen(device: str, names: str | None = None, among: tuple[Cheat, ...] = CATALOGUE) -> tuple[Cheat, ...]:
    """The cheats for a kind of device, or the named ones among them, with the honest candidate first."""
    wanted = None if names is None else {name.strip() for name in names.split(",")}
    found = (cheat for cheat in (HONEST, *among) if device in cheat.devices)
    return tuple(cheat for cheat in found if wanted is None or cheat.name in wanted)
