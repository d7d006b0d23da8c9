"""The child's side of a gate raced in several processes: a pytest session that runs one test up to one `kbench` call.

The call is checked and raced as in any session; its record goes to the parent, which judges, and the session ends.
"""

from __future__ import annotations

import dataclasses
import gc
import threading
from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import NoReturn

import pytest

from pytest_kgate.bench.processes.task import Task
from pytest_kgate.errors import KgateError
from pytest_kgate.system.child_process import end_with_parent

if TYPE_CHECKING:
    from pytest_kgate.bench.request import Outcome
    from pytest_kgate.bench.request import Request
    from pytest_kgate.problems.problem import Problem


class Child:
    """Takes the place of `bench.call.run` in the session of a child process."""

    def __init__(self, config: pytest.Config, task: Task) -> None:
        self._task = task
        self._earlier = {record["call"]: record for record in task.earlier}
        path = task.test.partition("::")[0]
        test = task.test.removeprefix(path)
        # The other arguments of the parent's command line decide how things are set up; which tests run does not.
        config.args = [f"{config.rootpath / path}{test}"]
        config.option.pyargs = False
        threading.Thread(target=end_with_parent, args=(task.parent_pipe,), daemon=True).start()

    def run(self, request: Request, measure: Callable[[Request], Outcome]) -> Outcome:
        """Measure the call that the task names, hand its record to the parent and end the session.

        Calls of the test before it get the outcome that they had in the parent, without being measured again.
        """
        from pytest_kgate.bench.request import Outcome

        if request.call in self._earlier:
            return Outcome(self._earlier[request.call])
        if (request.test, request.call) != (self._task.test, self._task.call):
            return measure(request)
        return self._finish(request, measure)

    def _finish(self, request: Request, measure: Callable[[Request], Outcome]) -> NoReturn:
        try:
            outcome = measure(
                dataclasses.replace(request, problem=self._with_reference(request), process=self._task.process)
            )
            self._task.deliver({"record": outcome.record})
        except KgateError as error:
            self._task.deliver({"error": f"{error.what} {error.todo}".rstrip()})
        gc.freeze()  # pytest ends with ten searches for garbage, which take 0.2 s where PyTorch is loaded
        pytest.exit("measured for another process", returncode=0)

    def _with_reference(self, request: Request) -> Problem:
        """The problem with only the reference that the parent has chosen: all processes must race against the same."""
        references, backend = request.problem.reference, self._task.backend
        if backend is None or not isinstance(references, Mapping) or backend not in references:
            return request.problem
        return dataclasses.replace(request.problem, reference={backend: references[backend]})
