"""The task of `make run` that goes on while somebody looks around: checks this environment's files, then compiles them.

Usage: python -m joblog.cli.demo_task
"""

from __future__ import annotations

import hashlib
import itertools
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

CHECKED_FILES = 6_000
COMPILED_FILES = 3_600
# About three minutes: long enough to look around.
PAUSE_SECONDS = 0.05


def main() -> int:
    """Writes a line for each file; returns the exit code."""
    print("::group::Checking files")
    for path in itertools.islice(_files(), CHECKED_FILES):
        print(hashlib.sha256(path.read_bytes()).hexdigest()[:16], path)
    print("::endgroup::", flush=True)
    print("warning: compiling takes about three minutes, so that there is something to look at", file=sys.stderr)
    print("\033[1mCompiling\033[0m, nothing of it is kept", flush=True)
    for number, path in enumerate(itertools.islice(itertools.cycle(_files()), COMPILED_FILES), 1):
        try:
            compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
            print(f"\033[32m{number:5d}\033[0m {path.name}", flush=True)
        except (SyntaxError, ValueError) as error:
            print(f"error: {path}: {error}", file=sys.stderr, flush=True)
        time.sleep(PAUSE_SECONDS)
    print("All compiled")
    return 0


def _files() -> Iterator[Path]:
    for name in ("stdlib", "purelib"):
        yield from sorted(Path(sysconfig.get_path(name)).rglob("*.py"))


if __name__ == "__main__":
    sys.exit(main())
