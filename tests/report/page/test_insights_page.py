"""Findings of recorded candidates on a page."""

from __future__ import annotations

from sample_records import speed_record

from pytest_kgate.report.page import insights


def test_each_finding_is_a_row_below_its_candidate() -> None:
    record = speed_record(ratio=1.1)
    record["insights"] = [
        {
            "name": name,
            "finding": f"Device memory is {share:.0%} busy.",
            "evidence": {"share": share},
            "confidence": "sure",
            "advice": "Move fewer bytes.",
        }
        for name, share in (("excess-bytes", 0.44), ("memory-bound", 0.91))
    ]
    head, _, first, second, *rest = insights.table([speed_record("b.py::test_b"), record]).splitlines()
    assert head.startswith("| candidate | problem | finding | explains |")
    assert first.startswith(
        "| wmma | sdpa 1x8x512x64 float16 | excess-bytes | 44 % | sure | Device memory is 44% busy."
    )
    assert second.startswith("|  |  | memory-bound | 91 % |")
    assert rest[-1].startswith("NVIDIA H200")


def test_records_without_findings_say_how_to_get_some() -> None:
    assert "--kgate-profile" in insights.table([speed_record()])
