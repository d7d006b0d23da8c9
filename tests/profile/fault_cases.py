"""Kernels with planted faults, for compute-sanitizer to find; a file of tests, named by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_kgate import Shape

FAULTS = ("out_of_bounds", "race", "uninitialised", "barrier", "unwritten")


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(kbench, sdpa_oracle, kernels, fault):
    kbench(kernels(f"faults/{fault}.cu"), sdpa_oracle(Shape(1, 2, 67, 64)))


@pytest.mark.parametrize("impl", ["custom_v3", "wmma"])
def test_not_a_number(kbench, sdpa_oracle, kernels, impl):
    problem = sdpa_oracle(Shape(1, 2, 67, 64))

    def inputs(generator):
        query, key, value = problem.inputs(generator)
        query[0, 1, 66, 3] = float("nan")
        return query, key, value

    kbench(kernels(impl, debug=True), replace(problem, inputs=inputs, small=None))


def test_assert(kbench, sdpa_oracle, kernels):
    kbench(kernels("faults/asserts.cu", debug=True), sdpa_oracle(Shape(1, 2, 67, 64)))
