"""What an archive asks of an S3 server, counted there: small tasks, a large log, a leader at rest; and what that costs.

The counts do not depend on how fast or busy the machine is. Money is at example prices (--storage, --puts, --gets: per
GB and month, per 1,000 writes, per 1,000 reads).
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from pathlib import Path

from bench.archive import Bucket, server
from bench.archive_site import add_noise, new_log
from bench.measuring import GIB, MIB
from bench.results import Result
from joblog.identity import LogName
from joblog.leader.archive.claim import RENEW_SECONDS
from joblog.leader.archive.cost import SECONDS_PER_MONTH, Prices
from joblog.leader.archive.flush import FlushLimits
from tests.archiving import ArchiveSite
from tests.stored_log import StoredLog

FLUSH_SECONDS = 10.0
PACK_BYTES = 64 * MIB
PART_BYTES = 16 * MIB
LINES_BYTES = 2000
# As S3 charges: deletes and aborted uploads cost nothing.
WRITES = frozenset(
    {"PutObject", "CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload", "ListObjectsV2"}
)
READS = frozenset({"GetObject", "HeadObject"})


def main() -> None:
    """Runs it and keeps its figures."""
    options = _arguments()
    result = Result("cost", quick=options.quick)
    prices = Prices(options.storage, options.puts, options.gets)
    with tempfile.TemporaryDirectory(prefix="joblog-bench-") as folder, server(Path(folder)) as (name, endpoint):
        print(f"cost: the server is {name}", flush=True)
        bucket = Bucket(endpoint)
        site = ArchiveSite(
            Path(folder) / "leader",
            bucket.objects,
            limits=FlushLimits(pack_bytes=PACK_BYTES, interval_seconds=FLUSH_SECONDS),
            multipart_bytes=PART_BYTES,
        )
        try:
            site.context.claim.ensure()
            small_tasks(result, bucket, site, prices, 100 if options.quick else 1000)
            large_log(result, bucket, site, prices, 128 * MIB if options.quick else 1024 * MIB)
            at_rest(result, bucket, site, prices)
        finally:
            site.close()
    result.add("price of a GB for a month", prices.storage_gb_month, "$")
    result.add("price of 1,000 writes", prices.per_1000_puts, "$")
    result.add("price of 1,000 reads", prices.per_1000_gets, "$")
    result.keep()


def _arguments() -> argparse.Namespace:
    defaults = Prices()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a short run that shows that it works; not for the report")
    parser.add_argument("--storage", type=float, default=defaults.storage_gb_month)
    parser.add_argument("--puts", type=float, default=defaults.per_1000_puts)
    parser.add_argument("--gets", type=float, default=defaults.per_1000_gets)
    return parser.parse_args()


def _money(requests: Counter[str], prices: Prices) -> float:
    writes, reads = sum(requests[name] for name in WRITES), sum(requests[name] for name in READS)
    return writes / 1000 * prices.per_1000_puts + reads / 1000 * prices.per_1000_gets


def _add(result: Result, what: str, requests: Counter[str], share: float, prices: Prices) -> None:
    """Requests of what was done, for `share` of it."""
    scaled = Counter({name: count * share for name, count in requests.items()})
    result.add(f"{what}: writes", sum(scaled[name] for name in WRITES), "requests")
    result.add(f"{what}: reads", sum(scaled[name] for name in READS), "requests")
    result.add(f"{what}: requests cost", _money(scaled, prices), "$")


def _stored(site: ArchiveSite, logs: list[StoredLog]) -> int:
    """Bytes of the sealed objects, as the archive has them."""
    return sum(extent.object_bytes for log in logs for extent in site.store.extents(log.number))


def small_tasks(result: Result, bucket: Bucket, site: ArchiveSite, prices: Prices, count: int) -> None:
    """Tasks that begin, are flushed once while they run, and end; then objects of the meantime are deleted."""
    logs = [new_log(site.leader, LogName("default", f"run{at // 100}", f"task{at}", 1)) for at in range(count)]
    bucket.clear()
    for log in logs:
        add_noise(log, LINES_BYTES)
    site.flush()
    for log in logs:
        add_noise(log, LINES_BYTES)
        log.complete(sha256=b"\1" * 32)
    for log in logs:
        site.sealer.seal(log.number)
    while site.clean():
        pass
    share = 1000 / count
    _add(result, "1,000 small tasks", bucket.requests, share, prices)
    size = _stored(site, logs) * share
    result.add("1,000 small tasks: kept for a month", size / 1e9 * prices.storage_gb_month, "$")


def large_log(result: Result, bucket: Bucket, site: ArchiveSite, prices: Prices, size: int) -> None:
    """A live log that fills a pack at each flush, and is then put together."""
    log = new_log(site.leader, LogName("default", "large", "task", 1))
    bucket.clear()
    for _ in range(size // PACK_BYTES):
        add_noise(log, PACK_BYTES)
        site.flush()
    log.complete(sha256=b"\1" * 32)
    site.seal()
    while site.clean():
        pass
    share = GIB / size
    _add(result, "a stored GiB of a large log", bucket.requests, share, prices)
    result.add(
        "a stored GiB of a large log: kept for a month",
        _stored(site, [log]) * share / 1e9 * prices.storage_gb_month,
        "$",
    )


def at_rest(result: Result, bucket: Bucket, site: ArchiveSite, prices: Prices) -> None:
    """A month of flushes with nothing to put, and of renewed claims."""
    # How the server compares etags is learnt once.
    site.context.claim.renew()
    bucket.clear()
    site.flush()
    flush = Counter(bucket.requests)
    bucket.clear()
    site.context.claim.renew()
    renewal = Counter(bucket.requests)
    flushes, renewals = SECONDS_PER_MONTH / FLUSH_SECONDS, SECONDS_PER_MONTH / RENEW_SECONDS
    month = Counter({name: int(flush[name] * flushes + renewal[name] * renewals) for name in flush | renewal})
    _add(result, "a month of a leader at rest", month, 1.0, prices)


if __name__ == "__main__":
    main()
