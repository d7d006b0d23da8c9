"""Which implementations a session runs, by `--kgate-impl` and its variable, and where one can't run here."""

from __future__ import annotations

import pytest


def test_impl_option_chooses_among_parametrized_implementations(suite):
    body = """
    @pytest.mark.parametrize("impl", ["a", "b", "c"])
    def test_one(impl):
        pass

    def test_without():
        pass
    """
    result = suite(body).runpytest_inprocess("--kgate-impl=a,c")
    result.assert_outcomes(passed=3, deselected=1)


def test_impl_variable_chooses_too(suite, monkeypatch):
    monkeypatch.setenv("IMPL", "b")
    body = """
    @pytest.mark.parametrize("impl", ["a", "b", "c"])
    def test_one(impl):
        assert impl == "b"
    """
    result = suite(body).runpytest_inprocess()
    result.assert_outcomes(passed=1, deselected=2)


def test_misspelt_impl_ends_the_collection_and_is_told_the_right_name(suite):
    body = """
    @pytest.mark.parametrize("impl", ["mine"])
    def test_one(impl):
        pass
    """
    result = suite(body).runpytest_inprocess("--kgate-impl=mine,wmaa")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--kgate-impl names 'wmaa', which is no implementation. Did you mean 'wmma'?*"])
    suite(body).runpytest_inprocess("--kgate-impl=wmma").assert_outcomes(deselected=1)


def test_misspelt_impl_is_told_where_tests_name_their_kernels_themselves(suite, monkeypatch):
    body = """
    def test_one(kernels):
        kernels("wmma")
    """
    result = suite(body).runpytest_inprocess("--kgate-impl=wmaa")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--kgate-impl names 'wmaa', which is no implementation. Did you mean 'wmma'?*"])
    monkeypatch.setenv("KGATE_IMPL", "wmaa")
    result = suite(body).runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*KGATE_IMPL names 'wmaa', which is no implementation*"])


def test_impl_variable_may_be_another_programs(suite, monkeypatch):
    monkeypatch.setenv("IMPL", "theirs")
    body = """
    def test_one(kernels):
        kernels("host")

    def test_without():
        pass
    """
    result = suite(body).runpytest_inprocess("-rs")
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["*host is not among IMPL theirs*"])


def test_cuda_kernel_on_a_machine_without_gpu_skips_with_the_reason_or_fails_when_required(suite):
    body = """
    def test_cuda(kernels):
        kernels("wmma")
    """
    pytester = suite(body)
    result = pytester.runpytest_inprocess("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*wmma needs a CUDA device*"])
    required = pytester.runpytest_inprocess("--kgate-require-gpu")
    required.assert_outcomes(failed=1)
