"""What the head of each case demands, as data: the first line whose name fits a test holds.

A name is `folder/file::test`, a `*` stands for anything. Then the verdicts that are right, and words (a regular
expression) that the reason or what the test printed must have. SAID is no verdict: the call ended in a sentence before
there was a record. `not PASS` are all verdicts but PASS, where the test was reported as failed as well.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

ATTACK = "not PASS"
SAID = "SAID"
PASSED = "passed"
"""Of a test that asks for no verdict: it has run to its end."""

_ROWS = (
    ("host/test_attention_forms::test_honest*", "PASS", ""),
    ("host/test_attention_forms::test_wrong_alignment*", "WRONG", ""),
    ("host/test_attention_forms::test_nan_rows*", PASSED, ""),
    ("host/test_busy_host::*quiet*", "FAIL", ""),
    ("host/test_busy_host::*busy*", "INVALID", "other work"),
    ("host/test_complex_output::test_wrong*", "WRONG", ""),
    ("host/test_denormals*::test_without_maximum", "WRONG", ""),
    ("host/test_denormals*::test_argmax*", "PASS WRONG", "^PASS|equal="),
    ("host/test_denormals*::test_zeros_within_tolerance", "WRONG", ""),
    ("host/test_empty*::test_rows?0?", "ERROR", "no elements"),
    ("host/test_expanded_inputs::*", "PASS INCONCLUSIVE FAIL", ""),
    ("host/test_global_rng::test_global_rng", "SAID ERROR", "do not repeat"),
    ("host/test_global_rng::test_constant*", "WEAK WRONG INVALID", ""),
    ("host/test_jax_async::*", "FAIL INVALID INCONCLUSIVE", ""),
    ("host/test_memory_factor::*", "PASS INCONCLUSIVE", r"peak [0-7]\.\d times"),
    ("host/test_odd_names::test_no_references", "SAID ERROR", "names none|cannot be {}"),
    ("host/test_requires_grad::*", "PASS INCONCLUSIVE FAIL", ""),
    ("host/test_same_name::test_a*", "MEASURED", ""),
    ("host/test_same_name::test_b*", "WRONG", ""),
    ("host/test_scalar_inputs::*", "PASS INCONCLUSIVE FAIL", ""),
    ("host/test_several_outputs::test_tuple_only_candidate", "ERROR", "returned a tuple"),
    ("host/test_several_outputs::test_in_place", "ERROR", "parameter `out`|in place"),
    ("host/*", "PASS", ""),
    ("honest/*", "PASS", ""),
    ("gpu/test_autotune::test_honest", "PASS", ""),
    ("gpu/test_autotune::test_tunes_again", "PASS INVALID", ""),
    ("gpu/test_autotune::*", "WRONG", ""),
    ("gpu/test_big_tensors::test_overflow", "WRONG ERROR", ""),
    ("gpu/test_complex_cuda::test_no_imaginary_part", "WRONG", ""),
    ("gpu/test_cpu_inputs::test_inputs*", "SAID ERROR", "(?i)inputs .* on cpu"),
    ("gpu/test_cpu_inputs::test_global_rng*", "SAID ERROR", "generator"),
    ("gpu/test_launch_blocking::*", "INVALID ERROR PASS", "^PASS|CUDA_LAUNCH_BLOCKING"),
    ("gpu/test_lazy_loading::*", "PASS INVALID", ""),
    ("gpu/test_no_nvml::*", "PASS", ""),
    ("gpu/test_null_stream::*", "INVALID WRONG", "stream"),
    ("unusual/test_unusual::test_logits_in_16_bits*", "WRONG", ""),
    ("unusual/*", "PASS", ""),
    ("first_use/*", "PASS", ""),
    ("ways/*", "PASS", ""),
    ("gpu/test_sync_inside::test_eager", "PASS", ""),
    ("gpu/test_sync_inside::*", "INVALID", "eager"),
    ("gpu/*", "PASS", ""),
    ("attacks/a00*", "FAIL", ""),
    ("attacks/b*::test_after", PASSED, ""),
    ("attacks/b00*", "FAIL", ""),
    ("attacks/*", ATTACK, ""),
    ("attacks_gpu/g01*always_works*", "FAIL", ""),
    ("attacks_gpu/g02*", "INVALID ERROR", ""),
    ("attacks_gpu/g03*::test_honest", "FAIL", ""),
    ("attacks_gpu/g04*", ATTACK, ""),
    ("attacks_gpu/*", "INVALID", ""),
)

_AS_RIGHT = (
    ("gpu/test_null_stream::test_all_on_the_null_stream", "FAIL", "it is timed on the stream where it launches"),
    ("attacks_gpu/g01*replays*", "FAIL", "the replay gains nothing"),
    ("attacks_gpu/g03*::test_parasite", "FAIL", "the reference is no slower for it"),
    ("attacks_gpu/g05*", "FAIL", "no seed is found, so that all calls are made"),
    ("attacks_gpu/g08*", "FAIL ERROR", "the lengths can't be changed"),
)
"""Where the head names the verdict of an attack that works, and the attack comes to nothing before: it is then judged
as the honest candidate that it is. Said in the table, since it is not what the head says."""

_ARGUMENTS = (
    ("attacks/b01*", ("--kgate-isolate", "--kgate-budget", "40", "--kgate-timeout", "1200")),
    ("attacks/b*", ("--kgate-isolate",)),
    ("attacks_gpu/g05*", ("--kgate-isolate",)),
)


def wanted(case: str) -> tuple[str, str]:
    """The verdicts that are right for `folder/file::test`, separated by blanks, and the words that must be there."""
    return next((verdicts, words) for name, verdicts, words in _ROWS if fnmatchcase(case, name))


def arguments(case: str) -> tuple[str, ...]:
    """What `folder/file` is run with, beside the device."""
    return next((found for name, found in _ARGUMENTS if fnmatchcase(case, name)), ())


def as_right(case: str, verdict: str) -> str:
    """Why another verdict than the head's is right; empty where it is not."""
    return next((why for name, known, why in _AS_RIGHT if fnmatchcase(case, name) and verdict in known.split()), "")
