"""The machine code of a library of kernels, and what in it would be wrong whatever the timing of a GPU."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

_FUNCTION = re.compile(r"Function : (\S+)")
_INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?(.*?)\s*;")
_PRODUCT = re.compile(r"[HQ]GMMA\S* R\d+, (R\d+|gdesc\[\S+?\]),")
_WRITE = re.compile(r"(?!ST|RED|BAR|SYNCS)([A-Z][A-Z0-9_.]+) R(\d+)\b")
_WAIT_FOR_ALL = "WARPGROUP.DEPBAR.LE gsb0, 0x0"
_LEFT_REGISTERS = 4


def disassembled(library: Path) -> str:
    """The SASS of a library, by NVIDIA's cuobjdump and nvdisasm: of the toolkit, or of their packages."""
    found = shutil.which("cuobjdump") or shutil.which("cuobjdump", path=_of_packages())
    assert found, "cuobjdump is missing: pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm"
    path = os.pathsep.join((os.environ.get("PATH", ""), _of_packages()))
    done = subprocess.run(
        [found, "-sass", str(library)], capture_output=True, text=True, check=True, env={**os.environ, "PATH": path}
    )
    return done.stdout


def _of_packages() -> str:
    places = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    return os.pathsep.join(str(one) for place in places for one in Path(place).glob("nvidia/cu*/bin"))


def overwritten_operands(sass: str) -> list[str]:
    """Writes to registers that a product of warpgroups may still read as its left operand.

    Such a product is under way until it is waited for. The assembler knows that of its result, not of its left operand.
    """
    found: list[str] = []
    function, under_way = "", {}
    for line in sass.splitlines():
        if named := _FUNCTION.search(line):
            function, under_way = named[1], {}
        if not (parsed := _INSTRUCTION.search(line)):
            continue
        address, instruction = parsed[1], parsed[2]
        if product := _PRODUCT.match(instruction):
            if product[1].startswith("R"):
                first = int(product[1][1:])
                under_way |= dict.fromkeys(range(first, first + _LEFT_REGISTERS), address)
        elif instruction.startswith(_WAIT_FOR_ALL):
            under_way = {}
        elif write := _WRITE.match(instruction):
            first = int(write[2])
            registers = range(first, first + _width(write[1]))
            found += [
                f"{function}: {instruction} at {address}, read by the product at {under_way[one]}"
                for one in registers
                if one in under_way
            ]
    return found


def _width(operation: str) -> int:
    """Registers that an instruction writes, at least."""
    if operation.startswith(("HMMA", "QMMA", "LDSM")) or ".128" in operation:
        return 4
    return 2 if ".64" in operation or operation.startswith("CS2R") else 1
