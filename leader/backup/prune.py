"""Deletes backups, and pieces that no backup needs. See announce.py for why no backup that runs beside it is hurt.

Killed anywhere, it leaves pieces that the next prune finds again, and at worst a list of those that it meant to delete.
A piece is deleted under a name that no object is ever given again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from joblog.errors import Conflict, NotFound
from joblog.leader.archive.objects import MAX_DELETES, walk
from joblog.leader.backup import failpoints
from joblog.leader.backup.announce import DEAD_AFTER_SECONDS
from joblog.leader.backup.keeping import kept
from joblog.leader.backup.layout import RUNNING_PREFIX, backup_key, parse_running_key, piece_key, verified_key
from joblog.leader.backup.manifest import Summary
from joblog.leader.backup.options import KeepRules
from joblog.leader.backup.repository import Repository
from joblog.leader.backup.trash import MAX_NAMES, TrashList, new_trash_key, put_trash, trash_lists

log = logging.getLogger(__name__)


class Pruned(NamedTuple):
    """What a prune did, or would do. kept: ids and rules. waiting: pieces that go once these backups are made.

    deleted_pieces, deleted_bytes: of objects with pieces.
    """

    kept: dict[str, list[str]]
    deleted: list[str]
    deleted_pieces: int
    deleted_bytes: int
    waits_for: list[str]


class Pruner:
    """One prune. dead_after_seconds: a running backup that was not heard of for so long is over."""

    def __init__(
        self,
        repository: Repository,
        *,
        dead_after_seconds: float = DEAD_AFTER_SECONDS,
        progress: Callable[[int, int], None] = lambda _done, _total: None,
    ) -> None:
        self._repository = repository
        self._objects = repository.objects
        self._dead_after_seconds = dead_after_seconds
        self._progress = progress

    def prune(
        self,
        rules: KeepRules,
        backups: Iterable[Summary],
        now_ns: int,
        *,
        drop: Collection[str] = (),
        dry_run: bool = False,
    ) -> Pruned:
        """Keeps what the rules keep; without any all. backups: all that can be read. drop: ids of those that go anyway.

        Raises Corrupt or WrongVersion when the manifest of another one can't be read: then it is not known what it
        needs, and nothing is deleted. Raises NotFound for one to be dropped that is not there.
        """
        ids = set(self._repository.backup_ids())
        if unknown := sorted(set(drop) - ids):
            raise NotFound(f"{self._objects.name}: there is no backup {unknown[0]}")
        found = [one for one in backups if one.id not in drop]
        keep = kept(rules, found, now_ns) if rules else {one.id: ["no rule"] for one in found}
        doomed = [one.id for one in found if one.id not in keep] + sorted(drop)
        if dry_run:
            needed = self._needed(set(doomed))
            sizes = {name: info.size for name, info in self._repository.piece_objects() if name not in needed}
            return Pruned(keep, doomed, len(sizes), sum(sizes.values()), [])
        # Before anything goes: whether all that stay can be read.
        self._needed(set(doomed))
        if doomed and self._objects.keeps_versions():
            # No list shows old versions of what is deleted.
            put_trash(self._objects, TrashList(new_trash_key(), (), (), tuple(doomed)))
        for backup_id in doomed:
            self._objects.delete(_manifest_keys(backup_id))
            failpoints.reach("prune.manifest")
            log.info("backup %s is deleted", backup_id)
        pieces, size, waits_for = self.sweep()
        return Pruned(keep, doomed, pieces, size, waits_for)

    def sweep(self) -> tuple[int, int, list[str]]:
        """Deletes pieces that nothing needs: (how many, bytes, ids of backups that some of them wait for)."""
        self._write_lists()
        count = size = 0
        waits_for: set[str] = set()
        running = set(self._running())
        needed: set[str] | None = None
        for trash in trash_lists(self._objects):
            waits = trash.waits_for
            if waits is None:
                waits = tuple(sorted(running))
                put_trash(self._objects, trash._replace(waits_for=waits))
                failpoints.reach("prune.waits")
            if still := running.intersection(waits):
                waits_for |= still
                continue
            # Read after those that were waited for have their manifests.
            needed = self._needed(set()) if needed is None else needed
            done = self._delete(trash, needed)
            count, size = count + done[0], size + done[1]
        return count, size, sorted(waits_for)

    def _write_lists(self) -> None:
        """Writes down the pieces that nothing needs and that no list has yet."""
        listed = {name for trash in trash_lists(self._objects) for name in trash.names}
        there = [name for name, _ in self._repository.piece_objects() if name not in listed]
        needed = self._needed(set())
        names = [name for name in there if name not in needed]
        for at in range(0, len(names), MAX_NAMES):
            put_trash(self._objects, TrashList(new_trash_key(), tuple(names[at : at + MAX_NAMES]), None))
            failpoints.reach("prune.trash")

    def _needed(self, without: set[str]) -> set[str]:
        """Names of all objects that a backup needs."""
        return {name for manifest in self._repository.manifests(without) for name in manifest.names()}

    def _running(self) -> list[str]:
        """Ids of backups that are being made. Those of dead ones are withdrawn first: they can't be completed then."""
        announced = ((info, parse_running_key(info.key)) for info in walk(self._objects, RUNNING_PREFIX))
        infos = [(info, backup_id) for info, backup_id in announced if backup_id is not None]
        if not infos:
            return []
        # The target's clock, not ours.
        mark = new_trash_key()
        put_trash(self._objects, TrashList(mark, (), ()))
        written = self._objects.head(mark)
        self._objects.delete([mark])
        now_ns = written.modified_ns if written is not None else 0
        running = []
        for info, backup_id in infos:
            if now_ns - info.modified_ns > self._dead_after_seconds * 1e9:
                log.warning("backup %s was not heard of for long: it is over", backup_id)
                self._objects.delete([info.key])
            else:
                running.append(backup_id)
        return running

    def _delete(self, trash: TrashList, needed: set[str]) -> tuple[int, int]:
        wanted = set(trash.names) - needed
        sizes = {name: info.size for name, info in self._repository.piece_objects() if name in wanted}
        names = sorted(sizes)
        for at in range(0, len(names), MAX_DELETES):
            self._objects.delete([piece_key(name) for name in names[at : at + MAX_DELETES]])
            failpoints.reach("prune.pieces")
            self._progress(min(at + MAX_DELETES, len(names)), len(names))
        # What a backup wants of a list it stores under another name: so nothing that is purged is wanted again.
        keys = {piece_key(name): name for name in sorted(wanted)}
        there = set(self._repository.backup_ids()) if trash.backups else set()
        manifests = {key: one for one in trash.backups if one not in there for key in _manifest_keys(one)}
        if kept := self._objects.purge([*keys, *manifests]):
            left = [keys[key] for key in kept if key in keys]
            backups = dict.fromkeys(manifests[key] for key in kept if key in manifests)
            put_trash(self._objects, trash._replace(names=tuple(left), backups=tuple(backups)))
            log.warning("%d objects are deleted; the store keeps old versions of them for now", len(kept))
        else:
            # Those that are needed after all are found anew should that change.
            self._objects.delete([trash.key])
        return len(sizes), sum(sizes.values())


def _manifest_keys(backup_id: str) -> list[str]:
    return [backup_key(backup_id), verified_key(backup_id)]


def prune_backups(
    repository: Repository, rules: KeepRules, *, drop: Collection[str] = (), dry_run: bool = False
) -> Pruned:
    """Deletes what no rule keeps. Blocks. Raises as Pruner.prune(), Conflict when nothing is to be done."""
    if not rules and not drop:
        raise Conflict("no rule says which backups to keep: set backup.keep_last and the like, or give a rule")
    summaries = repository.summaries(lambda backup_id, why: log.warning("backup %s: %s", backup_id, why))
    return Pruner(repository).prune(rules, summaries, time.time_ns(), drop=drop, dry_run=dry_run)
