"""A task for bench/tail.py: prints a file again and again at a given speed, until it is told to end.

python bench/pacer.py FILE BYTES_PER_SECOND
"""

from __future__ import annotations

import os
import sys
import time

PIECE_BYTES = 256 << 10


def main() -> None:
    """Writes without end."""
    bytes_per_second = float(sys.argv[2])
    out = os.dup(1)
    written = 0
    with open(sys.argv[1], "rb", buffering=0) as file:
        began = time.monotonic()
        while True:
            piece = file.read(PIECE_BYTES)
            if not piece:
                file.seek(0)
                continue
            while piece:
                count = os.write(out, piece)
                written += count
                piece = piece[count:]
            time.sleep(max(0.0, written / bytes_per_second - (time.monotonic() - began)))


if __name__ == "__main__":
    main()
