"""Where a search looks, and when it ends before its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from joblog.errors import InvalidInput
from joblog.identity import check_name
from joblog.leader.buffer.catalog import EVERY_RUN, RunFilter

MAX_HITS = 10_000
MAX_SECONDS = 600.0
MAX_RUNS = 100_000


class Scope(NamedTuple):
    """Where to search: a namespace's runs that `where` lets through; with run, that one; with task, attempt those.

    max_runs: of these runs only so many, the newest; 0: all.
    """

    namespace: str
    run: str = ""
    task: str = ""
    attempt: int = 0
    where: RunFilter = EVERY_RUN
    max_runs: int = 0

    def check(self) -> Scope:
        """Returns itself; raises InvalidInput."""
        check_name("namespace", self.namespace, reserved=self.namespace.startswith("@"))
        if self.run:
            check_name("run", self.run)
        if self.task:
            check_name("task", self.task, reserved=True)
        if (self.task and not self.run) or (self.attempt and not self.task):
            raise InvalidInput("a task is searched in a run, an attempt in a task: name the whole path")
        if self.run and (self.max_runs or self.where != EVERY_RUN):
            raise InvalidInput(
                "the number of runs, their states, labels, text and times choose among runs: leave the run out"
            )
        if not 0 <= self.max_runs <= MAX_RUNS:
            raise InvalidInput(f"max_runs {self.max_runs} is out of range: 1 to {MAX_RUNS}, or 0 for all runs")
        return self


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """When a search ends before its end. hits: in all; hits_per_log: then it goes on with the next log."""

    hits: int = 1000
    hits_per_log: int = 1000
    seconds: float = 60.0

    def check(self) -> SearchLimits:
        """Returns itself; raises InvalidInput."""
        for name in ("hits", "hits_per_log"):
            if not 1 <= getattr(self, name) <= MAX_HITS:
                raise InvalidInput(f"{name} {getattr(self, name)} is out of range: 1 to {MAX_HITS}")
        if not 0 < self.seconds <= MAX_SECONDS:
            raise InvalidInput(f"seconds {self.seconds:g} is out of range: more than 0, at most {MAX_SECONDS:g}")
        return self
