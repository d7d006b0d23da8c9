"""`kgate kernelbench`, as its user sees it: whose fault it is, what advice says, and that it can be followed."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from pytest_kgate import cli
from pytest_kgate.evaluation.options.options import OPTIONS

HEAD = "import torch\nfrom torch import nn\n"

PROBLEM = """
class Model(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.lin = nn.Linear(i, o)
        self.drop = nn.Dropout(0.0)
    def forward(self, x):
        return self.drop(torch.relu(self.lin(x)))
def get_inputs():
    return [torch.rand(8, 32)]
def get_init_inputs():
    return [32, 16]
"""

NEW = """
class ModelNew(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.lin = nn.Linear(i, o)
    def forward(self, x):
        return torch.relu(self.lin(x))
"""


@pytest.fixture
def kernelbench(tmp_path, monkeypatch, capsys):
    """Runs the verb in this process on two texts; returns its status and what it has printed, blanks made one."""
    monkeypatch.setenv("KGATE_LOCK_DIR", str(tmp_path))  # nothing is timed here that is to be believed
    monkeypatch.chdir(tmp_path)

    def run(problem: str, new: str, *options: str) -> tuple[int, str, str]:
        Path("problem.py").write_text(HEAD + problem)
        Path("new.py").write_text(HEAD + new)
        asked = ["kernelbench", "problem.py", "new.py", "--budget", "0.2", *options]
        status = cli.main([*asked, *([] if "--device" in options else ["--device", "host"])])
        printed = capsys.readouterr()
        return status, " ".join(printed.out.split()), " ".join(printed.err.split())

    return run


def test_command_that_repeats_a_call_has_what_the_environment_said(kernelbench, monkeypatch):
    monkeypatch.setenv("KGATE_FOREIGN_LOAD", "warn")
    status, said, _ = kernelbench(PROBLEM, NEW.replace("torch.relu", ""))
    assert status == 1
    again = said.partition("again kgate kernelbench problem.py new.py")[2].partition(" ==")[0]
    assert "--kgate-foreign-load=warn" in again


@pytest.mark.parametrize(
    ("old", "now", "said"),
    [
        ("[torch.rand(8, 32)]", "torch.rand(8, 32)", "problem.py returned Tensor, not a list."),
        ("[torch.rand(8, 32)]", "[torch.rand(8, 32).to('meta:9').cpu()]", "raised NotImplementedError: "),
        ("self.lin(x))", "self.lin(x) @ torch.ones(5))", "The reference raised RuntimeError: size mismatch"),
        ("Dropout(0.0)", "Dropout(0.5)", "The reference's answer to the same inputs changes from call to call"),
        ("[32, 16]", "[[], {'i': 32}]", "problem.py can't be constructed: it raised TypeError: "),
        ("[32, 16]", "1 / 0", "problem.py raised ZeroDivisionError: division by zero."),
        ("[32, 16]", "{'i': 32}", "problem.py returned dict, not a list."),
    ],
    ids=["inputs-no-list", "inputs-raise", "reference-raises", "random", "constructor", "init-raises", "init-no-list"],
)
def test_fault_of_the_problem_is_no_solutions_and_names_the_file(kernelbench, old, now, said):
    status, _, error = kernelbench(PROBLEM.replace(old, now), NEW)
    assert status == 2
    assert error.startswith("kgate: problem.py is at fault, and no solution was judged: ")
    assert said in error
    assert error.endswith("Correct the problem, or give another.")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--device", "cuda:77"], "kgate: No solution of problem.py was judged: "),
        (["--timer", "graph"], "kgate: pytest could not judge a solution of problem.py."),
    ],
    ids=["no-gpu", "timer"],
)
def test_device_and_timer_that_are_not_there_are_no_fault_of_a_solution(kernelbench, options, said):
    status, _, error = kernelbench(PROBLEM, NEW, *options)
    assert (status, said in error) == (2, True)


@pytest.mark.parametrize(
    ("new", "said"),
    [
        (
            NEW.replace("self.lin =", "raise RuntimeError('cannot build')\n        self.lin ="),
            "ModelNew can't be constructed: it raised RuntimeError: cannot build. The traceback follows; it is called "
            "as ModelNew(*get_init_inputs()), and get_init_inputs() returned [32, 16].",
        ),
        (
            NEW.replace("ModelNew", "Model"),
            "new.py does not define ModelNew. A solution must define class ModelNew, which is constructed and called "
            "like Model.",
        ),
        (
            NEW.replace("return ", ""),
            "The candidate returned nothing. Return a tensor of shape (8, 16) and dtype torch.float32. ",
        ),
    ],
    ids=["constructor", "no-class", "none"],
)
def test_fault_of_the_solution_is_described_as_what_it_is(kernelbench, new, said):
    status, told, error = kernelbench(PROBLEM, new)
    assert (status, error) == (1, "")
    assert said in told
    assert "test_solution.py" not in told


@pytest.mark.parametrize("isolate", [[], ["--isolate"]], ids=["in-process", "isolated"])
def test_weights_of_other_names_are_why_the_answer_is_wrong_and_the_record_is_printed(kernelbench, isolate):
    """One race for three promises: they are all of one wrong solution's output."""
    named = NEW.replace("self.lin = nn.Linear(i, o)", "self.w, self.b = map(nn.Parameter, (torch.ones(o, i), W))")
    named = named.replace("self.lin(x)", "nn.functional.linear(x, self.w, self.b)").replace("W)", "torch.ones(o))")
    status, out, error = kernelbench(PROBLEM, named, "--json", "-", "--kgate-foreign-load", "warn", *isolate)
    assert status == 1
    (record,) = json.loads(out)["records"]
    told = "0 of 2 copied by name, the others from seed 42: w (lin.weight in Model), b (lin.bias in Model)"
    assert (record["verdict"], record["candidate"]["weights"]) == ("WRONG", told)
    assert f"Its weights are not the model's: {told}. Name parameters and buffers as Model does" in error
    assert "Most elements are wrong" not in error
    assert "--kgate-foreign-load=warn" in record["asked"]["command"]
    assert record["asked"]["sources"]["foreign_load"] == "--kgate-foreign-load"
    assert not Path("-").exists()


@pytest.mark.parametrize("verb", ["kernelbench", "flashinfer-bench", "task-folder", "evaluate"])
def test_every_option_that_a_message_can_advise_is_taken(verb):
    given = ["problem", "solution", "new.py"][: 3 if verb == "flashinfer-bench" else 2 if verb != "evaluate" else 1]
    refused = []
    for option in OPTIONS:
        parser = cli._parser([verb])
        value = {"budget": ["71"]}.get(option.name, ["value"]) if option.metavar else []
        try:
            found = parser.parse_args([verb, *given, option.flag, *value])
        except (SystemExit, argparse.ArgumentError):
            refused.append(option.name)
            continue
        taken = [*found.handed_on, *own_values(found)]
        assert any(option.flag in str(one) or str(one) in ("value", "71.0", "True") for one in taken), option.flag
    assert refused == (["json", "candidate"] if verb == "evaluate" else [])


def own_values(found: argparse.Namespace) -> list[object]:
    """What the options that the verb has itself were given."""
    return [part for one in vars(found).values() for part in (one if isinstance(one, list) else [one])]
