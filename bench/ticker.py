"""A task for bench/tail.py: prints lines at a steady pace, each with the time at which it was written.

python bench/ticker.py COUNT INTERVAL_SECONDS
"""

from __future__ import annotations

import os
import sys
import time


def main() -> None:
    """Writes COUNT lines; each holds the monotonic clock in nanoseconds, which all processes of a machine share."""
    count, interval_seconds = int(sys.argv[1]), float(sys.argv[2])
    due = time.monotonic()
    for _ in range(count):
        due += interval_seconds
        time.sleep(max(0.0, due - time.monotonic()))
        os.write(1, b"%d\n" % time.monotonic_ns())


if __name__ == "__main__":
    main()
