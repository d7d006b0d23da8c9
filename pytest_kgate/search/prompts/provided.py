"""A search over sources that a provider writes: its space, its strategy and its evaluator, put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_kgate.search.prompts.evaluator import SourcesEvaluator
from pytest_kgate.search.prompts.facts.gather import candidates_of
from pytest_kgate.search.prompts.facts.gather import told
from pytest_kgate.search.prompts.facts.gather import with_records
from pytest_kgate.search.prompts.facts.task import task_of
from pytest_kgate.search.prompts.judging import SourceJudge
from pytest_kgate.search.prompts.judging import SourceSpace
from pytest_kgate.search.prompts.strategy import ProvidedSources
from pytest_kgate.search.prompts.writing import MOST_CHARACTERS
from pytest_kgate.search.prompts.writing import Mode
from pytest_kgate.search.prompts.writing import write_prompt
from pytest_kgate.search.running.builds.ahead import BuildsAhead
from pytest_kgate.search.running.evaluator import ChildEvaluator
from pytest_kgate.search.running.evaluator import Seen
from pytest_kgate.search.space.configuration import Configuration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_kgate.report.record.record import Record
    from pytest_kgate.search.policy.evaluator import Evaluator
    from pytest_kgate.search.policy.trial import Trial
    from pytest_kgate.search.prompts.facts.told import Told
    from pytest_kgate.search.prompts.provider import Provider
    from pytest_kgate.search.prompts.replies.stored import Replies
    from pytest_kgate.search.running.executors.pool import Pool
    from pytest_kgate.search.space.configuration import Value
    from pytest_kgate.search.space.space import Space
    from pytest_kgate.search.strategies.protocol import Strategy


@dataclass(frozen=True)
class Prompter:
    """Writes the prompts of one search."""

    test: str
    replies: Replies
    suffix: str
    mode: Mode = "full"
    records: Sequence[Record] = ()
    """Of the test, for what it asks and where it runs."""
    device: Mapping[str, Value] = field(default_factory=dict)
    """Its facts, by the names of `device_facts`."""
    source: str | None = None
    """To begin with, while no reply has raced."""
    templates: Path | None = None
    most_characters: int = MOST_CHARACTERS

    def write(self, trials: Sequence[Trial], parents: int) -> tuple[str, Told]:
        """The next prompt, after these trials, and what it tells."""
        candidates = with_records(candidates_of(trials, self.replies, {}), self.records)
        raced = any(one.log_ratio is not None for one in candidates)
        task = task_of(self.test, list(self.records), self.device)
        known = told(task, candidates, self.suffix, self.records, parents, None if raced else self.source)
        return write_prompt(known, self.mode, self.templates, self.most_characters), known


def provided(
    provider: Provider, prompter: Prompter, judge: SourceJudge, pool: Pool, *, quiet: bool
) -> tuple[Space, Strategy, Evaluator]:
    """What `course.search` needs; `quiet` is as in `ChildEvaluator`."""
    seen, space = Seen(Configuration.of({}), ()), SourceSpace.of(prompter.replies)
    judging = ChildEvaluator(judge, space, pool, BuildsAhead(1), seen, names=(), quiet=quiet)
    strategy = ProvidedSources(provider.ask, prompter.write, prompter.replies, prompter.suffix)
    return space, strategy, SourcesEvaluator(judging, prompter.replies)
