"""Memory of processes that handle a batch after another: kept between them instead of given back to the kernel."""

from __future__ import annotations

# glibc takes no hint from a block of 32 MiB or more.
KEPT_BYTES = 16 << 20


def keep_memory(size_bytes: int = KEPT_BYTES) -> None:
    """Makes glibc keep about twice size_bytes of freed memory; elsewhere it does nothing.

    Without it each block of some hundred KiB is taken from the kernel and given back, page by page, which took a
    gRPC client that sends batches nine times the CPU.
    """
    # glibc sets its limits by the largest block that it has seen go. This one is never touched, so it costs nothing.
    bytearray(size_bytes)


def give_back() -> None:
    """Gives freed memory that lies unused back to the kernel, where the C library can: after a burst, now and then."""
    # Supervisors use this module too, and have no use for these.
    import ctypes
    from contextlib import suppress

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
