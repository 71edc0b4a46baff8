"""Waiting that ends when the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

from joblog.errors import Unavailable

T = TypeVar("T")


async def until(
    closing: asyncio.Event, items: AsyncGenerator[T, None], *, quietly: bool = False
) -> AsyncGenerator[T, None]:
    """The items, until `closing` is set, also while waiting for the next one; then raises Unavailable, or just ends.

    Closes `items`.
    """
    stop = asyncio.ensure_future(closing.wait())
    following: asyncio.Task[T | None] | None = None
    try:
        while True:
            following = asyncio.ensure_future(anext(items, None))
            await asyncio.wait([following, stop], return_when=asyncio.FIRST_COMPLETED)
            if not following.done():
                if quietly:
                    return
                raise Unavailable("the leader is stopping: go on at the last offset when it is back")
            item = following.result()
            if item is None:
                return
            yield item
    finally:
        stop.cancel()
        if following is not None and not following.done():
            following.cancel()
            await asyncio.wait([following])
        await items.aclose()
