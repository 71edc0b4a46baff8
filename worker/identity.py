"""A worker's id: made once per data folder, the same over restarts."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from joblog.errors import Corrupt
from joblog.identity import new_run_id
from joblog.private_file import write_private

MAX_LENGTH = 250


def worker_id(path: Path) -> str:
    """The id kept in the file at `path`, made there when there is none. Raises Corrupt, Denied, OutOfSpace."""
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    write_private(fresh, f"{socket.gethostname()[:200]}-{new_run_id()}\n".encode())
    try:
        # Only the first of several processes that start at once gets its id in.
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    return _read(path)


def _read(path: Path) -> str:
    text = path.read_text(errors="replace").strip()
    if not 1 <= len(text) <= MAX_LENGTH or not text.isprintable():
        raise Corrupt(f"{path}: holds no worker id; remove it, and a new one is made at the next start")
    return text
