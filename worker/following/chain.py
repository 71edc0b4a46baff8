"""The files that one log went through: the one that is written, and those into which it was rotated."""

from __future__ import annotations

import os
import re

from joblog.worker.following.files import COMPRESSED_SUFFIX

# What rotation puts behind a file's name: the kubelet .20260131-120000, Docker and logrotate .1, .2 (the higher, the
# older), logrotate with dateext -20260131 or -20260131-1700000000; and .gz behind it.
_STAMPED = re.compile(r"[.-](\d{8}(?:[.-]?\d{1,10})?)\Z")
_NUMBERED = re.compile(r"\.(\d{1,5})\Z")


def chain(path: str) -> list[str]:
    """The files of a log, the oldest first, the one at `path` last where it is there. [] when there are none.

    Of a file that is there compressed and not compressed, the latter: the former may not be whole yet. Files that are
    still being compressed are left out.
    """
    folder, base = os.path.split(path)
    rotated: dict[tuple[int, int | str], str] = {}
    current: list[str] = []
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    for name in names:
        if name == base:
            current = [path]
        elif name.startswith(base):
            stem = name.removesuffix(COMPRESSED_SUFFIX)
            age = _age(stem[len(base) :])
            if age is not None and (age not in rotated or stem == name):
                rotated[age] = f"{folder}/{name}"
    return [rotated[age] for age in sorted(rotated)] + current


def _age(suffix: str) -> tuple[int, int | str] | None:
    """By this files sort from the oldest on; None for what is no rotated file."""
    if found := _NUMBERED.match(suffix):
        return 0, -int(found[1])
    if found := _STAMPED.match(suffix):
        return 1, found[1]
    return None
