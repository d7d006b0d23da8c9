"""Histograms of the gates' p-values, which are uniform where the statistics hold: as text, or by matplotlib."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pytest_kgate.errors import KgateError
from pytest_kgate.errors import UsageError

BINS = 20
"""Bins of 5 % each; a gate at 2.5 % on each side concerns the outer halves of the first and the last."""

_BAR = 40


def p_values(gates: Iterable[Mapping[str, Any]], names: Iterable[str]) -> list[float]:
    """P-values of the first look of all gates on these cases: equal kernels at bound 1, so uniform in theory.

    The standard error is only ever widened for autocorrelation, so p-values near 0.5 are more frequent than uniform.
    """
    wanted = set(names)
    found = (gate.get("first_look_p_value") for gate in gates if gate["case"] in wanted)
    return [float(value) for value in found if value is not None]


def ascii_histogram(values: Sequence[float], width: int = 80) -> str:
    """Ten bins as bars, with what uniform would give marked by `|`."""
    if not values:
        return ""
    counts, _ = np.histogram(values, bins=BINS // 2, range=(0.0, 1.0))
    expected = len(values) / len(counts)
    longest = min(_BAR, width - 24)
    scale = longest / max(float(counts.max()), 1.5 * expected)
    mark = round(expected * scale)
    lines = [f"p-values at the first look, {len(values)} gates on equal kernels; | is what chance gives"]
    for index, count in enumerate(counts):
        bar = ("#" * round(float(count) * scale)).ljust(mark + 1)
        bar = bar[:mark] + "|" + bar[mark + 1 :]
        lines.append(f"{index / len(counts):.1f} to {(index + 1) / len(counts):.1f}  {count:5d}  {bar}".rstrip())
    low = float(np.mean(np.array(values) < 0.025))
    high = float(np.mean(np.array(values) > 0.975))
    lines.append(f"below 0.025: {low * 100:.1f} %, above 0.975: {high * 100:.1f} % (2.5 % each by chance)")
    return "\n".join(lines)


def require_matplotlib() -> None:
    """Raise `UsageError` where it is missing: before hours of gates, not after."""
    if importlib.util.find_spec("matplotlib") is None:
        raise UsageError(
            "--plot needs matplotlib, which is not installed.",
            "pip install 'pytest-kgate[report]', or leave --plot away.",
        )


def draw(path: Path, by_case: Mapping[str, Sequence[float]]) -> None:
    """A histogram and the sorted p-values against uniform, as a picture; needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    everything = np.sort(np.concatenate([np.asarray(values, dtype=np.float64) for values in by_case.values()]))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4.2), constrained_layout=True)
    left.hist(everything, bins=BINS, range=(0, 1), color="#7aa6c2", edgecolor="white")
    left.axhline(len(everything) / BINS, color="black", linewidth=1, label="uniform")
    left.set_xlabel("p-value at the first look")
    left.set_ylabel("gates")
    left.legend(frameon=False)
    for name, values in by_case.items():
        ordered = np.sort(values)
        right.step((np.arange(len(ordered)) + 0.5) / len(ordered), ordered, where="mid", linewidth=1, label=name)
    right.plot([0, 1], [0, 1], color="black", linewidth=1)
    right.set_xlabel("uniform quantile")
    right.set_ylabel("p-value")
    right.legend(frameon=False, fontsize=8)
    figure.suptitle(f"{len(everything)} gates on equal kernels, bound 1")
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise KgateError(f"The plot can't be written to {path}: {error}.", "Give --plot another path.") from error
    finally:
        pyplot.close(figure)
