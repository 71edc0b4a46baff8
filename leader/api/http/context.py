"""What the routes work with, and the parts of a request that many of them share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from joblog.errors import InvalidInput, NotFound
from joblog.identity import MAX_ATTEMPT, LogName, check_log_name
from joblog.leader.access.issuing import Issuer
from joblog.leader.api.gate import Gate
from joblog.leader.api.http import names
from joblog.leader.api.http.cookies import Cookies
from joblog.leader.api.http.place import Place
from joblog.leader.api.http.turns import Turns
from joblog.leader.api.oidc_sign_in import OidcSignIn
from joblog.leader.api.signing_in import SignIn
from joblog.leader.api.status import LeaderStatus
from joblog.leader.archive.archiver import Archiver
from joblog.leader.backup.service import BackupService
from joblog.leader.buffer.store import Store
from joblog.leader.deletion import Deleter
from joblog.leader.key_service import KeyService
from joblog.leader.metrics import Metrics
from joblog.leader.reading.reader import LogReader
from joblog.leader.retention.holding import Holding
from joblog.leader.retention.keeping import Keeping
from joblog.leader.retention.policy import Policies
from joblog.leader.retention.service import Retention
from joblog.leader.search.searcher import Searcher


@dataclass(frozen=True, slots=True)
class Operated:
    """What operators look after. archiver, backups: None where none are set; the others: in a server without them."""

    keys: KeyService | None = None
    archiver: Archiver | None = None
    backups: BackupService | None = None
    retention: Retention | None = None
    holding: Holding | None = None


def _nothing_open() -> Mapping[tuple[str, str], int]:
    return {}


@dataclass(frozen=True, slots=True)
class ApiContext:
    """What answers come from. closing: set when the server stops; requests that wait then end.

    open_bytes: of tasks' logs that are open for writing, by namespace and run. turns: of those who look at logs.
    """

    store: Store
    reader: LogReader
    searcher: Searcher
    deleter: Deleter
    status: LeaderStatus
    metrics: Metrics
    gate: Gate
    issuer: Issuer
    sign_in: SignIn
    operated: Operated = Operated()
    oidc: OidcSignIn | None = None
    turns: Turns = field(default_factory=lambda: Turns(lambda: 0))
    open_bytes: Callable[[], Mapping[tuple[str, str], int]] = _nothing_open
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def keeping(self) -> Keeping:
        """Tells how long runs are kept."""
        retention = self.operated.retention
        return Keeping(self.store, retention.policies if retention is not None else Policies())


async def context_of(request: Request) -> ApiContext:
    """The application's context."""
    context = request.app.state.context
    assert isinstance(context, ApiContext)
    return context


async def log_name(namespace: names.Namespace, run: names.Run, task: names.Task, attempt: names.Attempt) -> LogName:
    """The log that a path names. Raises InvalidInput, NotFound for an attempt that there can't be."""
    number = 0
    if attempt != names.LATEST:
        if not names.ATTEMPT.fullmatch(attempt):
            raise InvalidInput(f"attempt {attempt[:20]!r} is neither `latest` nor an integer from 1 to {MAX_ATTEMPT}")
        number = int(attempt)
    name = check_log_name(LogName(namespace, run, task, min(number, MAX_ATTEMPT)), open_attempt=True)
    if number > MAX_ATTEMPT:
        raise NotFound(f"there is no attempt {number}: the last one that can be is {MAX_ATTEMPT}")
    return name


async def numbered_log_name(
    namespace: names.Namespace, run: names.Run, task: names.Task, attempt: names.NumberedAttempt
) -> LogName:
    """The same where `latest` is not taken: it may be another one by now."""
    if attempt == names.LATEST:
        raise InvalidInput("attempt: say which one; `latest` may be another one by now")
    return await log_name(namespace, run, task, attempt)


async def place_of(request: Request) -> Place:
    """Where browsers find the application."""
    place = request.app.state.place
    assert isinstance(place, Place)
    return place


async def cookies_of(request: Request) -> Cookies:
    """The application's cookies."""
    cookies = request.app.state.cookies
    assert isinstance(cookies, Cookies)
    return cookies


Where = Annotated[Place, Depends(place_of)]
CookieJar = Annotated[Cookies, Depends(cookies_of)]
Context = Annotated[ApiContext, Depends(context_of)]
NamedLog = Annotated[LogName, Depends(log_name)]
NumberedLog = Annotated[LogName, Depends(numbered_log_name)]

LOG_PATH = "/namespaces/{namespace}/runs/{run}/tasks/{task}/attempts/{attempt}"
