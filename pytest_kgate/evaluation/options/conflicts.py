"""Values of options that are fine alone, and can't be had together."""

from __future__ import annotations

from itertools import combinations

from pytest_kgate.errors import UsageError
from pytest_kgate.evaluation.options.options import Options

_TIMERS = {"host": ("auto", "wall"), "cuda": ("auto", "graph", "queue", "eager")}
"""Of each kind of device."""


def check_conflicts(options: Options) -> None:
    """Raise UsageError where two values, each fine alone, cannot be had together."""
    if options.timer == "wall" and options.cache == "cold":
        raise UsageError(
            f"{options.named('timer')} cannot go with {options.named('cache')}: only a GPU's L2 cache can be emptied.",
            "Use cache=hot, or a timer of a CUDA device: graph or queue.",
        )
    if options.locked_strict and options.locked is None:
        raise UsageError(
            f"{options.named('locked_strict')} does nothing without --kgate-locked.",
            "Name the file that `kgate lock` wrote: --kgate-locked kgate.lock.",
        )
    both = {name for name, _ in options.knob} & {name for name, _ in options.sweep}
    if both:
        raise UsageError(
            f"The knob {min(both)} is set ({options.sources.get('knob')}) and swept ({options.sources.get('sweep')}).",
            "Leave one of them out.",
        )
    kept = [name for name in ("json", "html", "history") if getattr(options, name) is not None]
    same = next((pair for pair in combinations(kept, 2) if len({getattr(options, name) for name in pair}) == 1), None)
    if same is not None:
        raise UsageError(
            f"{options.named(same[1])} cannot go with {options.named(same[0])}: one would take the place of the other.",
            "Name two files.",
        )
    if options.grid_budget is not None and options.processes > 1:
        raise UsageError(
            f"{options.named('grid_budget')} cannot go with {options.named('processes')}: each process has the whole "
            "budget of its race.",
            "Use one of them.",
        )
    if options.percentile is not None and (options.isolate or options.processes > 1):
        other = "isolate" if options.isolate else "processes"
        raise UsageError(
            f"{options.named('percentile')} cannot go with {options.named(other)}: the race that goes on is one of one "
            "process, which runs the candidate itself.",
            "Use one of them.",
        )
    measuring = "rounds" if options.joint is None else "joint"
    if getattr(options, measuring) is not None and (judging := _beside_rounds(options)) is not None:
        raise UsageError(
            f"{options.named(measuring)} cannot go with {options.named(judging)}: a race of so many rounds only "
            "measures, and decides nothing.",
            "Use one of them.",
        )
    if options.joint is not None and (options.isolate or options.sweep):
        raise UsageError(
            f"{options.named('joint')} cannot go with {options.named('isolate' if options.isolate else 'sweep')}: "
            + ("its candidates share one process." if options.isolate else "the file says which candidates there are."),
            "Use one of them.",
        )
    if options.isolate and options.timer not in ("auto", "wall"):
        raise UsageError(
            f"{options.named('isolate')} cannot go with {options.named('timer')}: an isolated candidate "
            "is timed from outside, by the host's clock.",
            "Use timer=auto.",
        )
    if options.rule == "classic" and options.processes > 1:
        raise UsageError(
            f"{options.named('rule')} cannot go with {options.named('processes')}: it resamples the rounds of one "
            "process.",
            "Use rule=sequential, or processes=1.",
        )


def _beside_rounds(options: Options) -> str | None:
    """The first option that asks for more than a race that only measures has; None where there is none.

    What a test or the ini file says of all sessions gives way: a search measures the tests that later judge.
    """
    asked = {
        "processes": options.processes > 1,
        "percentile": options.percentile is not None,
        "grid_budget": options.grid_budget is not None,
        "selftest": options.selftest,
        "until": options.until != "time",
        "profile": options.profile,
        "profile_keep": options.profile_keep is not None,
    }
    gives_way = ("ini", "marker", "kbench")
    return next((one for one, is_set in asked.items() if is_set and options.sources.get(one) not in gives_way), None)


def check_device_has_timer(options: Options) -> None:
    """Raise UsageError where the session's device has no such timer.

    For a session that names both: a test that brings its own timer may yet be skipped on this device.
    """
    timers = _TIMERS.get(options.device.partition(":")[0])
    if timers is not None and options.timer not in timers:
        raise UsageError(
            f"{options.named('timer')} cannot go with {options.named('device')}.",
            f"Use timer={' or timer='.join(timers)} there.",
        )
