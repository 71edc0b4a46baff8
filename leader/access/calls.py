"""Calls that are being answered, by who makes them, so that they end when their caller is not known any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from joblog.leader.access.principal import Principal

# By a principal's kind and id.
Key = tuple[str, str]


class OpenCall:
    """One call. ended: why it was ended before its end; empty while it was not."""

    __slots__ = ("ended", "principal", "task")

    def __init__(self, principal: Principal, task: asyncio.Task[object]) -> None:
        self.principal = principal
        self.task = task
        self.ended = ""

    def end(self, why: str) -> None:
        """Cancels the task that answers it."""
        if not self.ended:
            self.ended = why
            self.task.cancel()


class OpenCalls:
    """All of them. Belongs to the event loop."""

    def __init__(self) -> None:
        self._calls: dict[Key, set[OpenCall]] = {}

    def enter(self, principal: Principal) -> OpenCall:
        """The running task begins to answer a call; `leave` must follow in the same task."""
        task = asyncio.current_task()
        assert task is not None
        call = OpenCall(principal, task)
        self._calls.setdefault((principal.kind, principal.id), set()).add(call)
        return call

    def leave(self, call: OpenCall) -> None:
        """The call is answered."""
        key = (call.principal.kind, call.principal.id)
        calls = self._calls.get(key, set())
        calls.discard(call)
        if not calls:
            self._calls.pop(key, None)

    def let_finish(self, principal: Principal) -> None:
        """What the running task answers to this principal is not ended any more, as it ends the principal itself."""
        task = asyncio.current_task()
        for call in list(self._calls.get((principal.kind, principal.id), ())):
            if call.task is task:
                self.leave(call)

    def end(self, key: Key, why: str) -> None:
        """Ends all calls of one principal."""
        for call in list(self._calls.get(key, ())):
            call.end(why)

    def principals(self) -> list[Principal]:
        """Those who have open calls, each once."""
        return [next(iter(calls)).principal for calls in self._calls.values()]

    def end_those(self, is_to_end: Callable[[Principal], bool], why: str) -> None:
        """Ends the calls of all principals of whom it is true."""
        for principal in self.principals():
            if is_to_end(principal):
                self.end((principal.kind, principal.id), why)
