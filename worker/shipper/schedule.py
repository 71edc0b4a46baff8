"""Which log is shipped when: a watched one and an idle stream's at once, others gathered for a while."""

from __future__ import annotations

from joblog.worker.shipper.feed import Feed

# Messages per second that unwatched logs may cause by being shipped at once; beyond that they gather.
EAGER_PER_SECOND = 10.0
EAGER_BURST = 10.0


class Schedule:
    """The feeds that are due, watched ones first, and those that gather. Times are monotonic seconds."""

    def __init__(self, gather_seconds: float, gather_bytes: int) -> None:
        self.gather_seconds = gather_seconds
        self.gather_bytes = gather_bytes
        self._urgent: dict[Feed, None] = {}
        self._due: dict[Feed, None] = {}
        self._gathering: dict[Feed, None] = {}
        self._gather_until: float | None = None
        self._eager = EAGER_BURST
        self._eager_at = 0.0

    def __len__(self) -> int:
        return len(self._urgent) + len(self._due)

    def news(self, feed: Feed, now: float) -> None:
        """The feed has something to ship."""
        if feed in self._urgent or feed in self._due:
            return
        if feed.watched:
            self._gathering.pop(feed, None)
            self._urgent[feed] = None
        elif self._at_once(feed, now):
            self._gathering.pop(feed, None)
            self._due[feed] = None
        else:
            self._gathering[feed] = None
            if self._gather_until is None:
                self._gather_until = now + self.gather_seconds

    def _at_once(self, feed: Feed, now: float) -> bool:
        if feed.reader.length - feed.reader.offset >= self.gather_bytes:
            return True
        if feed in self._gathering:
            return False
        self._eager = min(EAGER_BURST, self._eager + (now - self._eager_at) * EAGER_PER_SECOND)
        self._eager_at = now
        if self._eager < 1.0:
            return False
        self._eager -= 1.0
        return True

    def again(self, feed: Feed) -> None:
        """The feed has more than fitted: it goes on after the others."""
        self.drop(feed)
        (self._urgent if feed.watched else self._due)[feed] = None

    def pop(self) -> Feed | None:
        """The feed to ship next."""
        for queue in (self._urgent, self._due):
            for feed in queue:
                del queue[feed]
                return feed
        return None

    def tick(self, now: float) -> None:
        """Makes gathered feeds due when their time has come."""
        if self._gather_until is not None and now >= self._gather_until:
            self.flush()

    def flush(self) -> None:
        """Makes all gathered feeds due now."""
        self._due.update(self._gathering)
        self._gathering.clear()
        self._gather_until = None

    def next_at(self) -> float | None:
        """When tick() has something to do; None: nothing gathers."""
        return self._gather_until

    def drop(self, feed: Feed) -> None:
        """The feed is over."""
        for queue in (self._urgent, self._due, self._gathering):
            queue.pop(feed, None)

    def clear(self) -> None:
        """Nothing is due (the stream is gone)."""
        for queue in (self._urgent, self._due, self._gathering):
            queue.clear()
        self._gather_until = None
