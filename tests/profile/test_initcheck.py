"""What users see of initcheck, which does not see all stores, with a stand-in for compute-sanitizer on PATH."""

from __future__ import annotations

import pytest

from pytest_kgate.report.record.document import load


@pytest.mark.parametrize(
    ("candidate", "verdict", "unseen"), [("whole", "PASS", False), ("half", "ERROR", False), ("own", "ERROR", True)]
)
def test_answers_that_are_written_whole_are_no_finding_of_initcheck(suite, tool, candidate, verdict, unseen):
    """It does not see all stores, and says that the host reads what nobody wrote."""
    pytester = suite(
        f"""
        def told(x, out):
            if os.environ.get("KGATE_UNDER_TOOL_RESULTS") and not os.path.exists(os.environ["CALLS"] + ".address"):
                with open(os.environ["CALLS"] + ".address", "w") as file:
                    file.write(hex(out.data_ptr() + 16))
            return torch.nn.functional.silu(x)

        def whole(x, out):
            out.copy_(told(x, out))

        def half(x, out):
            answer = told(x, out)
            out.view(-1)[1:] = answer.view(-1)[1:]

        def own(x):
            out = torch.empty_like(x)
            return told(x, out)

        @pytest.mark.sanitize("initcheck")
        def test_it(kbench):
            kbench({candidate}, SILU)
        """
    )
    result = pytester.runpytest_inprocess("--kgate-json=records.json", "--kgate-budget=0.2")
    (record,) = load(pytester.path / "records.json")
    assert (record["sanitizer"]["verdict"] == "PASS") == (verdict == "PASS")
    text = " ".join(result.stdout.str().split())
    assert ("Host API memory access error" in text) == (verdict == "ERROR")
    assert ("does not see bulk stores" in text) == unseen
