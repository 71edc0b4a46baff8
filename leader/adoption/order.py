"""What an operator asks to be adopted, and what is told of how it goes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from joblog.errors import InvalidInput
from joblog.leader.adoption.facts import FactRules
from joblog.leader.adoption.rule import DEFAULT_METADATA, Rule
from joblog.leader.archive.foreign import ForeignSource, find_source, plain_url
from joblog.leader.archive.foreign_reader import ForeignReader
from joblog.v1.adoption_pb2 import (
    ADOPT_RESULT_ADOPTED,
    ADOPT_RESULT_KNOWN,
    AdoptedLog,
    AdoptRequest,
    AdoptResponse,
    AdoptResult,
)

MAX_PROGRESS_LOGS = 500


@dataclass(frozen=True, slots=True)
class Order:
    """What to adopt, and how; see AdoptRequest. prefix: of keys in the source, "" or ending in "/"."""

    source: ForeignSource
    prefix: str
    rule: Rule
    facts: FactRules
    ignore_metadata: bool = False
    min_age_seconds: float = 0.0
    dry_run: bool = False
    limit: int = 0


def order_of(request: AdoptRequest, foreign: ForeignReader) -> Order:
    """Raises InvalidInput."""
    source, key = find_source(foreign.sources, plain_url(request.url))
    names = {name: getattr(request, name) for name in ("namespace", "run", "task", "attempt")}
    if not 0 <= request.min_age_seconds <= 10**10:
        raise InvalidInput(f"an age of {request.min_age_seconds} seconds can't be: 0 to 10^10")
    return Order(
        source,
        f"{key}/" if key else "",
        Rule(request.rule, names, request.metadata or DEFAULT_METADATA),
        FactRules(dict(request.fields), dict(request.statuses), request.otherwise),
        request.ignore_metadata,
        request.min_age_seconds,
        request.dry_run,
        request.limit,
    )


@dataclass(slots=True)
class Told:
    """What became of objects, and how many there were."""

    totals: AdoptResponse = field(default_factory=AdoptResponse)
    logs: list[AdoptedLog] = field(default_factory=list)

    def add(self, result: AdoptResult, found: AdoptedLog) -> None:
        found.result = result
        word = AdoptResult.Name(result).removeprefix("ADOPT_RESULT_").lower()
        setattr(self.totals, word, getattr(self.totals, word) + 1)
        if result == ADOPT_RESULT_ADOPTED:
            self.totals.bytes += found.bytes
        if result != ADOPT_RESULT_KNOWN:
            self.logs.append(found)

    def take(self, *, done: bool = False) -> Iterator[AdoptResponse]:
        """What there is to tell since the last time."""
        while True:
            part, self.logs = self.logs[:MAX_PROGRESS_LOGS], self.logs[MAX_PROGRESS_LOGS:]
            message = AdoptResponse()
            message.CopyFrom(self.totals)
            message.logs.extend(part)
            message.done = done and not self.logs
            yield message
            if not self.logs:
                return
