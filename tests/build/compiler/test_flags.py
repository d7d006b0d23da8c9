"""Flags that a source sets for its compiler: those that change its code, and none that name a file or a program."""

from __future__ import annotations

import pytest

from pytest_kgate.build.compiler.flags import first_refused
from pytest_kgate.build.compiler.recipe import recipe
from pytest_kgate.build.registry import find_source
from pytest_kgate.errors import BuildError


def test_a_source_sets_flags_that_reach_its_build(tmp_path):
    path = tmp_path / "mine.cpp"
    path.write_text("// flags: -ffast-math -DTILE=8\n//flags: -march=native\nint x;\n")
    plain = tmp_path / "plain.cpp"
    plain.write_text("int x;\n")
    flags = ("-ffast-math", "-DTILE=8", "-march=native")
    assert recipe(find_source(path), {}).flags == (*recipe(find_source(plain), {}).flags, *flags)


@pytest.mark.parametrize(
    ("device", "flag"),
    [
        *(("host", flag) for flag in ("-fplugin=/tmp/p.so", "-include/etc/passwd", "-Wl,-rpath=/tmp", "@/tmp/more")),
        *(("host", flag) for flag in ("-specs=/tmp/s", "-B/tmp", "-I/root", "-o/tmp/x", "-wrapper", "-D'X=`id`'")),
        *(("cuda", flag) for flag in ("-ccbin=/tmp/cc", "-Xcompiler", "--options-file=/tmp/f", "-maxrregcount=9999")),
    ],
)
def test_what_names_a_file_or_a_program_is_refused(device, flag):
    assert first_refused(["-O3", flag], device) == flag


def test_a_flag_that_is_refused_is_told_with_those_that_are_not(tmp_path):
    path = tmp_path / "mine.cu"
    path.write_text("// flags: -use_fast_math -fplugin=x.so\n")
    with pytest.raises(BuildError, match=r"mine does not compile: it sets the flag -fplugin=x\.so") as caught:
        recipe(find_source(path), {}, arch="sm_90a")
    assert "-maxrregcount=N" in caught.value.todo
