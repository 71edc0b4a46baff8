"""What is in a backup target, for those who look."""

from __future__ import annotations

from typing import NamedTuple

from joblog.leader.backup.manifest import Manifest, Summary
from joblog.leader.backup.repository import Repository
from joblog.leader.backup.verify import VerifiedNote, verified_note


class Listed(NamedTuple):
    """All backups, the newest first, what verifying has found, and those that can't be used: (id, why)."""

    target: str
    backups: list[tuple[Summary, VerifiedNote | None]]
    unreadable: list[tuple[str, str]]


class Shown(NamedTuple):
    """One backup. objects: that it needs; stored_bytes: their size; missing: how many are not there."""

    manifest: Manifest
    verified: VerifiedNote | None
    objects: int
    stored_bytes: int
    missing: int


def list_backups(repository: Repository | None, target: str) -> Listed:
    """What is in a target. Blocks. Raises what the object store raises."""
    if repository is None:
        return Listed(target, [], [])
    unreadable: list[tuple[str, str]] = []
    found = repository.summaries(lambda backup_id, why: unreadable.append((backup_id, str(why))))
    return Listed(target, [(one, verified_note(repository, one.id)) for one in found], unreadable)


def show_backup(repository: Repository, name: str) -> Shown:
    """One backup; "latest" is the newest. Blocks. Raises NotFound, Corrupt, WrongVersion."""
    manifest = repository.manifest(repository.resolve(name))
    needed = set(manifest.names())
    sizes = {name: info.size for name, info in repository.piece_objects() if name in needed}
    verified = verified_note(repository, manifest.summary.id)
    return Shown(manifest, verified, len(needed), sum(sizes.values()), len(needed) - len(sizes))
