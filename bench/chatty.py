"""A task for bench/overhead.py: works a little for each line, and writes each line at once.

python bench/chatty.py LINES
"""

from __future__ import annotations

import hashlib
import os
import sys

WORK_BYTES = 8 << 10


def main() -> None:
    """Writes LINES lines of about 100 bytes, each in a write of its own."""
    work = bytes(WORK_BYTES)
    for number in range(int(sys.argv[1])):
        digest = hashlib.sha256(work).hexdigest()
        os.write(1, f"[{number:7d}] compiled src/module_{number % 97}.cc, {digest}\n".encode())


if __name__ == "__main__":
    main()
