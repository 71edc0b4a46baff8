"""What a worker's stream has to say to it is written one message at a time, as gRPC takes it."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from joblog.leader.ingest.outbox import Outbox, PushContext
from joblog.leader.metrics import Metrics
from joblog.v1 import ingest_pb2


class Slow:
    """A stream whose writes end when `go` is set, and that takes one at a time."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.writing = False
        self.handles: list[int] = []

    async def write(self, message: ingest_pb2.PushResponse) -> None:
        assert not self.writing
        self.writing = True
        await self.go.wait()
        self.writing = False
        self.handles += [steer.handle for steer in message.steers]


async def test_the_last_words_wait_for_the_write_that_is_under_way() -> None:
    outbox, stream = Outbox(Metrics()), Slow()
    context = cast("PushContext", cast("Any", stream))
    outbox.steer(1, watched=True)
    first = asyncio.create_task(outbox.flush(context))
    await asyncio.sleep(0)
    assert stream.writing
    outbox.steer(2, watched=True)
    last = asyncio.create_task(outbox.flush(context))
    await asyncio.sleep(0)
    stream.go.set()
    await asyncio.gather(first, last)
    assert stream.handles == [1, 2]
