"""Where CRI files go: by itself, as every supervisor loads it."""

from __future__ import annotations

from typing import NamedTuple


class CriPlace(NamedTuple):
    """Where CRI files go and within which bounds; see the settings' section "cri". dir: absolute; empty: nowhere.

    keep_seconds: 0: for good.
    """

    dir: str = ""
    max_file_bytes: int = 10 << 20
    max_files: int = 5
    mode: int = 0o600
    keep_seconds: float = 0.0


def pod_folder(namespace: str, run: str, unique: str) -> str:
    """<namespace>_<run>_<id>. Readers take the namespace to end at the first underscore, so it gets none itself."""
    return f"{namespace.replace('_', '-')}_{run}_{unique}"
