"""What the plugin costs a session of pytest that does not use it."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest_kgate.bench.call
import pytest_kgate.report.text.failure
import pytest_kgate.report.text.summary  # noqa: F401


def test_session_without_kgate_says_nothing(pytester):
    pytester.makepyfile("def test_other(): pass")
    result = pytester.runpytest_inprocess()
    result.stdout.no_fnmatch_line("kgate:*")
    result.stdout.no_fnmatch_line("*= kgate =*")


OWN_MODULES = 45
"""The most of the package's modules that a session may import which uses none; empty `__init__.py` count."""


def test_plugin_imports_no_heavy_library_and_few_modules():
    code = f"""
    import sys
    import pytest_kgate.plugin
    heavy = {{"torch", "numpy", "scipy", "rich", "pynvml"}} & set(sys.modules)
    own = [name for name in sys.modules if name.partition(".")[0] == "pytest_kgate"]
    sys.exit(f"imported: {{heavy or own}}" if heavy or len(own) > {OWN_MODULES} else 0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_session_that_uses_no_kgate_fixture_imports_no_heavy_library(pytester):
    pytester.makepyfile(
        """
        import sys
        import pytest

        @pytest.mark.perf
        def test_other():
            assert not {"torch", "numpy", "scipy"} & set(sys.modules)
        """
    )
    pytester.runpytest_subprocess("-p", "no:xdist").assert_outcomes(passed=1)


def test_session_without_a_fixture_or_marker_of_kgate_imports_nothing_beyond_the_plugin(pytester):
    pytester.makeconftest(
        """
        import sys

        def own():
            return {name for name in sys.modules if name.partition(".")[0] == "pytest_kgate"}

        first = own()

        def pytest_unconfigure():
            print("more:", sorted(own() - first))
        """
    )
    pytester.makepyfile("def test_other():\n    pass\n")
    result = pytester.runpytest_subprocess("-p", "no:xdist", "-s")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*more: []"])
