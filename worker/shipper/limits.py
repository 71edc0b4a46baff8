"""What bounds a shipper, and how that follows from the worker's settings."""

from __future__ import annotations

from dataclasses import dataclass

from joblog.worker.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class ShipperLimits:
    """Sizes in bytes, times in seconds.

    poll_seconds: how often spools are looked at without having been told of news.
    scan_seconds: how often new spools are looked for.
    """

    window_bytes: int = 32 << 20
    batch_bytes: int = 1 << 20
    spool_limit_bytes: int = 1 << 30
    backoff_min_seconds: float = 0.1
    backoff_max_seconds: float = 10.0
    poll_seconds: float = 0.5
    scan_seconds: float = 1.0


def shipper_limits(settings: WorkerSettings, *, poll_seconds: float = 0.5) -> ShipperLimits:
    """The limits that the settings ask for."""
    return ShipperLimits(
        window_bytes=settings.ship.window_bytes,
        batch_bytes=settings.ship.batch_bytes,
        spool_limit_bytes=settings.spool.max_bytes,
        backoff_min_seconds=settings.ship.backoff_min_seconds,
        backoff_max_seconds=settings.ship.backoff_max_seconds,
        poll_seconds=poll_seconds,
    )
