"""`kgate oracle`: run the check of answers on right and wrong kernels, over a whole grid of attention problems."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

from pytest_kgate.errors import UsageError
from pytest_kgate.report.page import block
from pytest_kgate.system.pytorch import require_torch

if TYPE_CHECKING:
    from pytest_kgate.validation.oracle.extents import ExtentsCell
    from pytest_kgate.validation.oracle.grid import GridCell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb to its parser."""
    parser.add_argument("--device", choices=("auto", "host", "cuda"), default="auto", help="default: %(default)s")
    parser.add_argument("--lengths", metavar="S[,S...]", help="these of the grid's lengths; default: all")
    parser.add_argument("--head-dims", metavar="D[,D...]", help="these of its head dimensions; default: all")
    parser.add_argument(
        "--extents",
        nargs="?",
        choices=("pairs", "alone"),
        const="pairs",
        help="instead, grouped heads, decode, windows, caps, scales, biases and lse: a subsample by --seed where any "
        "two of them meet (pairs, the default), or each by itself, with the kernels that take it (alone)",
    )
    parser.add_argument("--seed", type=int, default=42, help="of all draws; default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the outcomes in FILE")
    parser.add_argument("--from", type=Path, dest="source", metavar="FILE", help="show such a file, run nothing")
    block.add_arguments(parser, "write the table into a block of this page")


def run(options: argparse.Namespace) -> int:
    """Run the grid or load a file, save, print the table. Returns 1 where a right kernel fails or a mutant passes."""
    block.check(options)
    require_torch()
    from pytest_kgate.validation.oracle import file

    content = file.load(options.source) if options.source is not None else _run(options)
    if options.json is not None:
        file.save(content, options.json)
    block.write(options, file.table(content))
    found = file.misjudged(content)
    for line in found:
        print(f"kgate: {line}", file=sys.stderr)
    return 1 if found else 0


def _run(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from pytest_kgate.device.open import open_device
    from pytest_kgate.report.record.values import now
    from pytest_kgate.validation.oracle import extents
    from pytest_kgate.validation.oracle import file
    from pytest_kgate.validation.oracle import grid

    if options.extents and (options.lengths or options.head_dims):
        raise UsageError(
            "--extents has lengths and head dimensions of its own.", "Leave --lengths and --head-dims out."
        )
    lengths = _chosen("--lengths", options.lengths, grid.LENGTHS)
    head_dims = _chosen("--head-dims", options.head_dims, grid.HEAD_DIMS)
    device = open_device(options.device)
    facts = device.environment()
    name = facts["gpu"]["name"] if "gpu" in facts else facts["cpu"]["model"]
    setting = {"device": name, "torch": f"PyTorch {torch.__version__}", "day": now()[:10]}
    if options.extents:
        kernels, missing = grid.honest_kernels(device)
        shipped = {name: kernel for name, kernel in kernels.items() if not name.startswith("sdpa ")}
        problems = extents.alone() if options.extents == "alone" else extents.subsample(options.seed)
        outcomes = extents.run(device, problems, shipped, options.seed, _show_problem)
        return file.document(outcomes, list(shipped), missing, setting, options.extents)
    cells, names, missing = grid.run(device, tuple(grid.TOLERANCE), head_dims, lengths, options.seed, _show)
    return file.document(cells, names, missing, setting)


def _show(one: GridCell) -> None:
    print(f"S={one.seqlen:<5} D={one.head_dim:<4} {one.dtype:9} {_told(one)}", file=sys.stderr)


def _show_problem(one: ExtentsCell) -> None:
    print(f"{one.problem}: {_told(one)}", file=sys.stderr)


def _told(one: GridCell) -> str:
    honest = f"{one.answers} honest answers, {len(one.accused)} accused"
    return f"{honest}; {one.died} mutants died, {len(one.lived)} lived, {one.seconds:.1f} s"


def _chosen(option: str, text: str | None, known: tuple[int, ...]) -> tuple[int, ...]:
    if text is None:
        return known
    found = tuple(one for one in known if str(one) in text.replace(" ", "").split(","))
    if not found:
        raise UsageError(f"{option} {text} names none of the grid's.", f"Choose of {', '.join(map(str, known))}.")
    return found
