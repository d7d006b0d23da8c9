"""Reports of compute-sanitizer, in the forms that its releases write: what is read out of them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from pytest_kgate.profile.sanitizer.report import Frame
from pytest_kgate.profile.sanitizer.report import parse_report

MEMCHECK = """\
========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 2 bytes
=========     at writes_past_the_end(__half *, int)+0x90 in /kernels/out_of_bounds.cu:8
=========     by thread (128,0,0) in block (33,0,0)
=========     Address 0x7f2a5c004300 is out of bounds
=========     and is 1 bytes after the nearest allocation at 0x7f2a5c000000 of size 17,152 bytes
=========     Saved host backtrace up to driver entry point at kernel launch time
=========         Host Frame: kgate_sdpa [0x9a5] in out_of_bounds.so
=========
========= Invalid __global__ write of size 2 bytes
=========     at writes_past_the_end(__half *, int)+0x90 in /kernels/out_of_bounds.cu:8
=========     by thread (129,0,0) in block (33,0,0)
=========     Address 0x7f2a5c004302 is out of bounds
=========
========= Program hit cudaErrorLaunchFailure (error 719) on CUDA API call to cudaDeviceSynchronize.
=========     Saved host backtrace up to driver entry point at error
=========
========= Target application returned an error
========= ERROR SUMMARY: 257 errors
========= ERROR SUMMARY: 157 errors were not printed. Use --print-limit option to adjust the number of printed errors
"""

RACECHECK = """\
========= COMPUTE-SANITIZER
========= Error: Race reported between Write access at void reverse<(int)128>(__half *)+0x130 in race.cu:9
=========     and Read access at void reverse<(int)128>(__half *)+0x160 in race.cu:10 [508 hazards]
=========     and Read access at void reverse<(int)128>(__half *)+0x180 in race.cu:11 [4 hazards]
=========
========= Warning: Race reported between Read access at other(int *)+0x10 in race.cu:30
=========     and Write access at other(int *)+0x20 in race.cu:31 [8 hazards]
=========
========= RACECHECK SUMMARY: 2 hazards displayed (1 error, 1 warning)
"""

INITCHECK = """\
========= COMPUTE-SANITIZER
========= Uninitialized __global__ memory read of size 2 bytes
=========     at adds_to_what_is_there(__half *, int)+0x70 in uninitialised.cu:8
=========     by thread (31,0,0) in block (1,0,0)
=========     Address 0x7f3c7ec000fc
=========
========= ERROR SUMMARY: 1 error
"""

HOST_COPY = """\
========= COMPUTE-SANITIZER
========= Host API uninitialized memory access
=========     Uninitialized access at 0x7f3c7ec000fc on access by cudaMemcpy source.
=========
========= ERROR SUMMARY: 1 error
"""

SYNCCHECK = """\
========= COMPUTE-SANITIZER
========= Barrier error detected. Invalid arguments.
=========     at __syncwarp(unsigned int)+0xe0 in /usr/local/cuda/include/sm_30_intrinsics.hpp:110
=========     by thread (0,0,0) in block (0,0,0)
=========         Device Frame: broken(float *, unsigned long)+0xb0 in /kernels/barrier.cu:12
=========
========= ERROR SUMMARY: 17 errors
"""


def test_a_bad_write_has_its_kernel_line_thread_address_and_distance() -> None:
    report = parse_report(MEMCHECK)
    assert report.complete
    assert report.errors == 257
    assert len(report.findings) == 2
    first = report.first
    assert first is not None
    assert first.message == "Invalid __global__ write of size 2 bytes"
    assert first.kernel == "writes_past_the_end(__half *, int)"
    assert first.frames == (Frame("writes_past_the_end(__half *, int)", "/kernels/out_of_bounds.cu", 8),)
    assert first.thread == (128, 0, 0)
    assert first.block == (33, 0, 0)
    assert first.address == "0x7f2a5c004300"
    assert "1 bytes after the nearest allocation" in " ".join(first.details)
    assert str(first).startswith(
        "Invalid __global__ write of size 2 bytes at out_of_bounds.cu:8 in writes_past_the_end, "
        "thread (128, 0, 0) of block (33, 0, 0), address 0x7f2a5c004300"
    )


def test_a_race_names_both_sides_and_a_warning_is_no_error() -> None:
    report = parse_report(RACECHECK)
    assert (report.errors, report.warnings) == (1, 1)
    race, warning = report.findings
    assert race.severity == "error"
    assert warning.severity == "warning"
    assert race.frames[0].line == 9
    assert [(access, frame.line) for access, frame in race.others] == [("Read", 10), ("Read", 11)]
    assert race.thread is None
    assert str(race) == (
        "Race: Write access at race.cu:9 in reverse<(int)128>, and a read at race.cu:10, and a read at race.cu:11"
    )


def test_only_warnings_are_no_error() -> None:
    text = RACECHECK.replace("Error: Race", "Warning: Race").replace("(1 error, 1 warning)", "(0 errors, 2 warnings)")
    report = parse_report(text)
    assert (report.errors, report.warnings, report.first) == (0, 2, None)


def test_an_unwritten_read_is_found_on_the_device_and_on_the_host() -> None:
    on_device = parse_report(INITCHECK).first
    assert on_device is not None
    assert (on_device.frames[0].line, on_device.address) == (8, "0x7f3c7ec000fc")
    on_host = parse_report(HOST_COPY).first
    assert on_host is not None
    assert on_host.kernel is None
    assert str(on_host) == (
        "Host API uninitialized memory access, address 0x7f3c7ec000fc, on access by cudaMemcpy source"
    )


def test_a_function_inside_the_kernel_is_shown_with_the_kernel_that_called_it() -> None:
    report = parse_report(SYNCCHECK)
    assert report.errors == 17
    first = report.first
    assert first is not None
    assert first.kernel == "broken(float *, unsigned long)"
    assert str(first) == (
        "Barrier error detected. Invalid arguments at sm_30_intrinsics.hpp:110 in __syncwarp, "
        "called at barrier.cu:12 in broken, thread (0, 0, 0) of block (0, 0, 0)"
    )


def test_the_form_of_earlier_releases_is_read_too() -> None:
    text = """\
========= COMPUTE-SANITIZER
========= Invalid __shared__ read of size 4 bytes
=========     at 0x80 in demo.cu:34:unaligned_kernel(void)
=========     by thread (1, 0, 0) in block (2, 0, 0)
=========     Access at 0x7f01 is misaligned
========= ERROR SUMMARY: 1 error
"""
    first = parse_report(text).first
    assert first is not None
    assert first.frames == (Frame("unaligned_kernel(void)", "demo.cu", 34),)
    assert (first.thread, first.block, first.address) == ((1, 0, 0), (2, 0, 0), "0x7f01")
    without_line = parse_report(text.replace("demo.cu:34:", "")).first
    assert without_line is not None
    assert without_line.frames == (Frame("unaligned_kernel(void)"),)


def test_a_place_broken_over_two_lines_is_one_place() -> None:
    text = """\
========= Error: Race reported between Write access at buggy(float *, int)+0x580
=========     in memory_errors.cu:25
=========     and Read access at buggy(float *, int)+0x890 in memory_errors.cu:31
=========     [4080 hazards]
========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)
"""
    first = parse_report(text).first
    assert first is not None
    assert first.frames == (Frame("buggy(float *, int)", "memory_errors.cu", 25),)
    assert first.others == (("Read", Frame("buggy(float *, int)", "memory_errors.cu", 31)),)


def test_a_clean_report_is_complete_and_has_nothing() -> None:
    for summary in ("ERROR SUMMARY: 0 errors", "RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)"):
        report = parse_report(f"========= COMPUTE-SANITIZER\n========= {summary}\n")
        assert (report.complete, report.errors, report.findings, report.troubles) == (True, 0, (), ())


def test_a_long_report_is_sorted_out_in_one_go() -> None:
    """Twice as long takes twice as long, not four times: a library's GEMM has left ten thousand findings."""
    one = INITCHECK.partition("\n")[2].partition("========= ERROR SUMMARY")[0]

    def seconds(count: int) -> float:
        report = parse_report(f"{one * count}========= ERROR SUMMARY: {count} errors\n")
        start = time.process_time()
        assert len(report.of_kernels("adds_to").findings) == count
        assert report.of_kernels("nothing").errors == 0
        return time.process_time() - start

    assert min(seconds(4000) for _ in range(3)) < 30 * min(seconds(400) for _ in range(3))


def test_errors_that_cannot_be_read_are_still_errors() -> None:
    report = parse_report("========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 3 errors\n")
    assert report.errors == 3
    assert report.first is not None


def test_a_record_has_files_from_the_current_directory_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    text = MEMCHECK.replace("/kernels/out_of_bounds.cu", f"{tmp_path}/csrc/mine.cu")
    first = parse_report(text).first
    assert first is not None
    assert first.to_dict()["file"] == first.to_dict()["frames"][0]["file"] == "csrc/mine.cu"


def test_what_is_found_in_other_kernels_can_be_left_out() -> None:
    both = parse_report(
        "========= COMPUTE-SANITIZER\n"
        "========= Uninitialized __global__ memory read of size 4 bytes\n"
        "=========     at sgemm_largek(float *)+0x70\n"
        "=========     by thread (1,0,0) in block (0,0,0)\n"
        + INITCHECK.partition("\n")[2].replace("SUMMARY: 1 error", "SUMMARY: 3 errors")
    )
    assert len(both.findings) == 2
    own = both.of_kernels("adds_to")
    assert [finding.kernel for finding in own.findings] == ["adds_to_what_is_there(__half *, int)"]
    assert own.errors == 2  # one was not printed, and may be anyone's
    assert parse_report(HOST_COPY).of_kernels("adds_to").errors == 1


def test_errors_that_cannot_be_read_come_with_what_the_tool_said() -> None:
    text = "========= COMPUTE-SANITIZER\n========= Error: a new kind of race\n"
    report = parse_report(text + "========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)\n")
    assert str(report.first) == "1 found, in a form that can't be read, Error: a new kind of race"


def test_what_the_tool_says_of_itself_is_no_finding() -> None:
    report = parse_report(
        "========= COMPUTE-SANITIZER\n"
        '========= Device not supported. Please refer to the "Supported Devices" section of the documentation\n'
        "========= Error: Target application terminated before first instrumented API call\n"
    )
    assert not report.complete
    assert report.findings == ()
    assert len(report.troubles) == 2
    assert not parse_report("Segmentation fault").complete
