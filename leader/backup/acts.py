"""What the audit log is told of backups: each run that is taken from one, each backup that is deleted, by whom."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict

from joblog.leader.access.audit import AuditEvent, Auditor
from joblog.leader.access.principal import CURRENT
from joblog.leader.backup.options import KeepRules

# What the audit log keeps of a subject; nothing may be hidden behind what else is named.
_MAX_SUBJECT = 400


async def record_restore(auditor: Auditor, backup_id: str, runs: Sequence[tuple[str, str]]) -> None:
    """Runs are about to be taken from a backup: on disk when it returns. Raises Unavailable."""
    for names in _groups([f"{namespace}:{run}" for namespace, run in runs]):
        await auditor.record(_event("backup.restore", names, {"backup": backup_id}))


async def record_prune(auditor: Auditor, rules: KeepRules, drop: Collection[str]) -> None:
    """Backups are about to be deleted, by rules or by name: on disk when it returns. Raises Unavailable."""
    keeps = {f"keep_{name}": str(count) for name, count in asdict(rules).items() if count}
    for names in _groups(sorted(drop)):
        await auditor.record(_event("backup.prune", names, keeps))


def note_deleted(auditor: Auditor, deleted: Sequence[str]) -> None:
    """These backups are deleted."""
    for names in _groups(deleted) if deleted else ():
        auditor.note(_event("backup.delete", names, {}))


def _event(act: str, subject: str, detail: dict[str, str]) -> AuditEvent:
    principal = CURRENT.get(None)
    return AuditEvent(act, principal, "ok", subject, principal.peer if principal is not None else "", detail)


def _groups(names: Sequence[str]) -> Iterator[str]:
    """All names, as many in one text as a subject holds; one empty text for none."""
    group = ""
    for name in names:
        if group and len(group) + 1 + len(name) > _MAX_SUBJECT:
            yield group
            group = ""
        group = f"{group} {name}".strip()
    yield group
