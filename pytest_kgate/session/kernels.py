"""A kernel for a test: found, compiled and loaded; the test is skipped where this session can't run it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_kgate.build.kernel import Kernel
from pytest_kgate.build.kernel import load_kernel
from pytest_kgate.build.registry import find_source
from pytest_kgate.errors import DeviceMissing
from pytest_kgate.errors import LibraryMissing
from pytest_kgate.integrity.isolation.candidate_name import CandidateSource
from pytest_kgate.integrity.isolation.candidate_name import build_named
from pytest_kgate.session.markers import gates_of
from pytest_kgate.session.options.sources import override

if TYPE_CHECKING:
    from pytest_kgate.device.protocol import Device
    from pytest_kgate.session.session import Session


def kernel_for(
    test: pytest.FixtureRequest,
    session: Session,
    device: Device,
    implementation: str | Path,
    knobs: Mapping[str, int],
    debug: bool | None,
) -> Kernel | CandidateSource:
    """A shipped implementation, or a source file: its path is relative to the test's folder, or to the current one.

    `debug` None is what the options say. Under --kgate-isolate the library is not opened in this process. Raises
    `KgateError` where there is no such source or it can't be built, skips the test where the session can't run it.
    """
    __tracebackhide__ = True  # a skip is shown at the test's own line
    options = override(session.options, **gates_of(test.node).overrides)
    debug = options.debug if debug is None else debug
    beside = test.path.parent / implementation
    where = beside if Path(implementation).suffix and beside.is_file() else implementation
    source = find_source(where)
    if source.implementation and options.impl and source.implementation not in options.impl:
        pytest.skip(f"{source.implementation} is not among --kgate-impl {','.join(options.impl)}")
    _need_device(source.device_kind, str(implementation), session, device)
    try:
        if options.isolate:
            return build_named(where, knobs, arch=options.arch, debug=debug)
        return load_kernel(where, knobs, arch=options.arch, debug=debug)
    except LibraryMissing as error:
        if source.implementation in options.impl:  # asked for by name
            raise
        pytest.skip(str(error).replace("\n", " "))


def _need_device(wanted: str, name: str, session: Session, device: Device) -> None:
    """Skip the test where its kernel can't run on the session's device; raises where a GPU is required."""
    __tracebackhide__ = True
    options = session.options
    if wanted == "cuda" and device.kind != "cuda":
        asked = " (--kgate-device host)" if options.device == "host" else ""
        missing = DeviceMissing(
            f"{name} needs a CUDA device, and there is none here{asked}.",
            "Run on a machine with an NVIDIA GPU and a CUDA build of PyTorch.",
        )
        if options.require_gpu:
            raise missing
        pytest.skip(missing.what)
    if wanted == "host" and options.device.startswith("cuda"):
        pytest.skip(f"{name} runs on the host, and --kgate-device is {options.device}")
