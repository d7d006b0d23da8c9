"""What is known of a machine on which there are no counters, from what Nsight Compute says and before it is started."""

from __future__ import annotations

import pytest

from pytest_kgate.profile.nsight.collection import refusals

PERMISSION = (
    "==PROF== Connected to process 7 (/usr/bin/python3.11)\n"
    "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance Counters on the "
    "target device 0. For instructions on enabling permissions and to get more information see "
    "https://developer.nvidia.com/ERR_NVGPUCTRPERM\n"
)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (PERMISSION, ("NVreg_RestrictProfilingToAdminUsers=0", "CAP_SYS_ADMIN", "/proc/driver/nvidia/params")),
        (
            "==ERROR== An error was reported by the driver:\n"
            "==ERROR== Cuda driver is not compatible with Nsight Compute.\n"
            "==ERROR== The application returned an error code (11).\n",
            ("ncu 2025.3.1 does not fit this GPU's driver", "nvidia-smi"),
        ),
        (
            "==ERROR== Failed to initialize the profiler: LibraryNotLoaded. Check that a compatible driver library is "
            "loaded.\n",
            ("could not load the driver's profiling library", "NVIDIA_DRIVER_CAPABILITIES"),
        ),
        ("==ERROR== Profiling is not supported on device 0 as it is a vGPU.\n", ("virtual GPU", "enable_profiling")),
        (
            "==ERROR== Profiling is not supported on device 0 as it uses the Windows Subsystem for Linux (WSL).\n",
            ("Windows Subsystem for Linux",),
        ),
        (
            "==ERROR== Profiling is not supported on device 0. To find out supported GPUs refer --list-chips option.\n",
            ("ncu 2025.3.1 does not know this GPU", "--list-chips"),
        ),
        (
            "==ERROR== Profiling failed because a driver resource was unavailable. Ensure that no other tool (like "
            "DCGM) is concurrently collecting profiling data.\n",
            ("Another program holds", "dcgmi profile --pause"),
        ),
        ("==ERROR== Failed to find metric regex:^dram__byts\\.(sum|min)$\n", ("knows no metric dram__byts ",)),
    ],
)
def test_what_holds_for_the_machine_is_said_with_what_to_do(said, words):
    reason = refusals.of_machine(said, "ncu 2025.3.1")
    assert reason is not None
    assert all(word in reason for word in words), reason
    assert refusals.of_kernel(said) is None


def test_a_kernel_that_cannot_be_run_again_is_named_and_says_nothing_of_the_machine():
    said = (
        '==PROF== Profiling "waits_for_host" - 0: 0%\n'
        "==ERROR== LaunchFailed\n"
        '==ERROR== Failed to profile "waits_for_host" in process 7\n'
        "==PROF== Trying to shutdown target application\n"
    )
    assert refusals.of_machine(said, "ncu 1") is None
    reason = refusals.of_kernel(said)
    assert "could not measure the kernel waits_for_host: LaunchFailed." in reason
    waits = "==WARNING== Launching the workload is taking more time than expected. If this continues to hang, ..."
    assert "it did not end" in refusals.of_kernel(waits)


HEALTHY = """\
==WARNING== Note: Running with uncontrolled GPU caches. Profiling results may be inconsistent.
==WARNING== Note: Running with unmodified GPU clocks. If not controlled otherwise, results may be inconsistent.
==PROF== Connected to process 2354 (/usr/bin/python3.12)
==WARNING== Unable to access the following 6 metrics: ctc__rx_bytes_data_user.sum, ctc__tx_bytes_data_user.sum.


==PROF== Profiling "latency_warpgroup" - 0: 0%....50%....100% - 38 passes
==PROF== Profiling "cudnn_generated_fort_native_s..." - 10: 0%....50%....100% - 38 passes
==PROF== Disconnected from process 2354
"""
"""Of ncu 2025.3 on an H100."""


@pytest.mark.parametrize("said", [HEALTHY, "==PROF== Connected to process 7\n==WARNING== No kernels were profiled.\n"])
def test_a_healthy_run_gives_no_reason(said):
    assert refusals.of_machine(said, "ncu 1") is None
    assert refusals.of_kernel(said) is None
    assert refusals.errors(said) == ""


@pytest.mark.parametrize(
    ("only_administrators", "capabilities", "denied"),
    [
        ("1", "00000000a80425fb", True),  # root of a container
        ("0", "0000000000000000", False),
        ("1", "000001ffffffffff", False),  # root
        ("1", f"{1 << 38:016x}", False),  # CAP_PERFMON
    ],
)
def test_missing_permission_is_known_before_anything_is_started(
    tmp_path, monkeypatch, only_administrators, capabilities, denied
):
    (tmp_path / "params").write_text(f"ResmanDebugLevel: 4294967295\nRmProfilingAdminOnly: {only_administrators}\n")
    (tmp_path / "status").write_text(f"Name:\tpython\nCapPrm:\t0000000000000000\nCapEff:\t{capabilities}\n")
    monkeypatch.setattr(refusals, "_PARAMETERS", tmp_path / "params")
    monkeypatch.setattr(refusals, "_STATUS", tmp_path / "status")
    reason = refusals.denied()
    assert (reason is not None) is denied
    assert not denied or "NVreg_RestrictProfilingToAdminUsers=0" in reason


def test_without_a_driver_nothing_is_denied_beforehand(tmp_path, monkeypatch):
    monkeypatch.setattr(refusals, "_PARAMETERS", tmp_path / "params")
    assert refusals.denied() is None
