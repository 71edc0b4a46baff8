"""What an archive costs: requests, bytes, and money at given prices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from joblog.leader.archive.claim import RENEW_SECONDS
from joblog.leader.archive.layout import METADATA_NAME, PLAIN_NAME, SEALED_NAME, parse_log_key, parse_pack_key
from joblog.leader.archive.metered import FREE, WRITES
from joblog.leader.archive.objects import ObjectInfo

SECONDS_PER_MONTH = 30 * 24 * 3600
GB = 10**9
_MILLION = 1_000_000
_REQUESTS = re.compile(r'^joblog_archive_requests_total\{operation="(\w+)",[^}]*\} (\S+)$', re.MULTILINE)
_SINCE = re.compile(r"^joblog_archive_sent_bytes_created (\S+)$", re.MULTILINE)
_SEALED = re.compile(r"^joblog_archive_sealed_logs_total (\S+)$", re.MULTILINE)
# What the archiver asks for: a flush puts a pack and now and then a roster, and looks after its claim.
_PUTS_PER_FLUSH = 2
_READS_PER_FLUSH = 2
# A sealed log and its metadata, a look at each before it counts, and a read of what was flushed while it was live.
_PUTS_PER_LOG = 2
_READS_PER_LOG = 3
# The claim, and a look at it before and after.
_READS_PER_RENEWAL = 2


@dataclass(frozen=True, slots=True)
class Prices:
    """In one currency. The defaults are list prices of S3 Standard in a cheap region, in US dollars."""

    storage_gb_month: float = 0.023
    per_1000_puts: float = 0.005
    per_1000_gets: float = 0.0004


class Census(NamedTuple):
    """What is in an archive. recent_logs: those sealed within the last 30 days. live: packs, rosters, segments."""

    logs: int
    log_bytes: int
    metadata_bytes: int
    plain_bytes: int
    live_objects: int
    live_bytes: int
    recent_logs: int

    @property
    def bytes(self) -> int:
        """Of all objects."""
        return self.log_bytes + self.metadata_bytes + self.plain_bytes + self.live_bytes


class Cost(NamedTuple):
    """What something takes. money: of storage for a month, and of requests."""

    puts: int
    gets: int
    bytes: int
    storage_money: float
    request_money: float

    @property
    def money(self) -> float:
        """All of it."""
        return self.storage_money + self.request_money


def take_census(infos: Iterable[ObjectInfo], now_ns: int) -> Census:
    """Counts the objects of an archive."""
    since_ns = now_ns - SECONDS_PER_MONTH * 1_000_000_000
    sizes = {SEALED_NAME: 0, METADATA_NAME: 0, PLAIN_NAME: 0}
    logs = recent = live_objects = live_bytes = 0
    for info in infos:
        parsed = parse_log_key(info.key)
        if parsed is not None and parsed.file in sizes:
            sizes[parsed.file] += info.size
            logs += parsed.file == SEALED_NAME
            recent += parsed.file == SEALED_NAME and info.modified_ns >= since_ns
        elif parsed is not None or parse_pack_key(info.key) or info.key.endswith(".roster"):
            live_objects += 1
            live_bytes += info.size
    return Census(logs, sizes[SEALED_NAME], sizes[METADATA_NAME], sizes[PLAIN_NAME], live_objects, live_bytes, recent)


def month(census: Census, prices: Prices, flush_interval_seconds: float, renew_seconds: float = RENEW_SECONDS) -> Cost:
    """The archive as it is, for a month: what is in it, logs as they came in the last one, a leader that never rests.

    An upper bound: a flush with nothing to put asks for nothing but the claim.
    """
    flushes = int(SECONDS_PER_MONTH / flush_interval_seconds)
    renewals = int(SECONDS_PER_MONTH / renew_seconds)
    puts = flushes * _PUTS_PER_FLUSH + renewals + census.recent_logs * _PUTS_PER_LOG
    gets = flushes * _READS_PER_FLUSH + renewals * _READS_PER_RENEWAL + census.recent_logs * _READS_PER_LOG
    return _cost(puts, gets, census.bytes, prices)


def million_tasks(census: Census, prices: Prices) -> Cost | None:
    """A million tasks like those in the archive: written once, and kept for a month. None when it holds none."""
    if not census.logs:
        return None
    size = (census.log_bytes + census.metadata_bytes + census.plain_bytes) * _MILLION // census.logs
    puts = _PUTS_PER_LOG + bool(census.plain_bytes)
    return _cost(puts * _MILLION, _READS_PER_LOG * _MILLION, size, prices)


class Counted(NamedTuple):
    """What a leader that runs has counted since it started. requests: by operation, those that failed among them."""

    requests: Mapping[str, float]
    seconds: float
    sealed_logs: float

    def for_month(self, census: Census, prices: Prices) -> Cost:
        """A month in which the leader asks as it has done so far."""
        return self._scaled(SECONDS_PER_MONTH / max(self.seconds, 1.0), census.bytes, prices)

    def for_million_tasks(self, census: Census, prices: Prices) -> Cost | None:
        """All that it asked for, by the logs that it sealed; None when there were none."""
        if not self.sealed_logs or not census.logs:
            return None
        size = (census.log_bytes + census.metadata_bytes + census.plain_bytes) * _MILLION // census.logs
        return self._scaled(_MILLION / self.sealed_logs, size, prices)

    def _scaled(self, factor: float, size: int, prices: Prices) -> Cost:
        writes = sum(count for name, count in self.requests.items() if name in WRITES)
        # What was put is looked at, as is what is copied.
        looks = sum(self.requests.get(name, 0) for name in ("put", "complete", "copy"))
        reads = looks + sum(count for name, count in self.requests.items() if name not in WRITES | FREE)
        return _cost(int(writes * factor), int(reads * factor), size, prices)


def parse_counted(metrics: str, now_seconds: float) -> Counted | None:
    """From what a leader says at /metrics; None when it has no archive, or is older than these counters."""
    requests: dict[str, float] = {}
    for operation, value in _REQUESTS.findall(metrics):
        requests[operation] = requests.get(operation, 0.0) + float(value)
    since, sealed = _SINCE.search(metrics), _SEALED.search(metrics)
    if since is None or sealed is None or not requests:
        return None
    return Counted(requests, now_seconds - float(since[1]), float(sealed[1]))


def _cost(puts: int, gets: int, size: int, prices: Prices) -> Cost:
    requests = puts / 1000 * prices.per_1000_puts + gets / 1000 * prices.per_1000_gets
    return Cost(puts, gets, size, size / GB * prices.storage_gb_month, requests)
