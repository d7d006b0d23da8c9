"""What a source that is not trusted says, itself or by its compiler, takes no longer to read than it is long."""

from __future__ import annotations

import subprocess
import sys

import pytest

LONG = 200_000
TEXTS = {
    "blanks behind a knob": "registry.parse_knobs('#ifndef A // knob: ' + ' ' * long + '\\nx\\n')",
    "blanks in a knob's value": "registry.parse_knobs('#ifndef A // knob: x\\n#define A 1' + ' ' * long + 'b\\n')",
    "blanks among flags": "registry.parse_flags('// flags: a' + ' ' * long + 'b\\n')",
    "a long word": "confined.refusal('it', 'a' * long, '')",
    "many refusals": 'ninja._explain(RECIPE, "static assertion failed due to requirement \'" * 20_000)',
    "empty lines": "format.printable('\\n' * long)",
    "digits": "ptxas.parse(f'{ENTRY}\\nUsed {nines} registers\\n{nines} bytes stack frame, {nines}')",
    "digits of shared memory": "ptxas.parse(f'{ENTRY}\\nUsed 9 registers, {nines}')",
}
CODE = f"""
import types
from pytest_kgate.build import registry
from pytest_kgate.build.compiler import ninja, ptxas
from pytest_kgate.build.compiler.confined import Confined
from pytest_kgate.report import format

long = {LONG}
nines = "9" * long
ENTRY = "Compiling entry function 'it' for 'sm_90'"
RECIPE = types.SimpleNamespace(title="it", command="cc")
confined = Confined((), 1.0)
"""


@pytest.mark.parametrize("what", TEXTS)
def test_text_of_a_source_is_read_at_once(what):
    """Each took more than eight seconds, most of them minutes, and none of it counts against a limit of time."""
    subprocess.run([sys.executable, "-c", f"{CODE}\n{TEXTS[what]}"], timeout=50, check=True)
