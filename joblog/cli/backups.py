"""`joblog backup`: backups of the leader's store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.markup import escape

from joblog.cli.backup_access import BackupAccess, Recovery, Url, Which, leader_runs, leader_stub
from joblog.cli.daemons import Config, Set
from joblog.cli.options import AsJson, DataDir, Leader
from joblog.cli.output import bytes_progress, err, out, print_json, print_table, table
from joblog.cli.words import as_dict, bytes_text, printable, time_text
from joblog.errors import JoblogError, Unavailable
from joblog.v1 import backup_pb2

app = typer.Typer(name="backup", help="Back up the leader's store, and look after backups.", no_args_is_help=True)

PROBLEMS_EXIT_CODE = 1
_SECONDS = 300.0


@app.callback()
def root() -> None:
    """Back up the leader's store, and look after backups."""


def follow(jobs: Iterable[backup_pb2.BackupJob], what: str) -> backup_pb2.BackupJob:
    """Shows how far a job is until its end; its last state. Raises Unavailable when it is not told."""
    last: backup_pb2.BackupJob | None = None
    with bytes_progress() as progress:
        bar = progress.add_task(what, total=None)
        for job in jobs:
            last = job
            words = f"{what} {job.backup_id}" + (f", {job.logs:,} logs" if job.logs else "")
            progress.update(bar, completed=job.done_bytes, total=job.total_bytes or None, description=words)
    if last is None or not last.finished_ns:
        raise Unavailable("the leader did not come to the end; `joblog backup list` shows what became of it")
    return last


@app.command()
def create(
    *,
    as_json: AsJson = False,
    leader: Leader = None,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
) -> None:
    """Make a backup of everything that the leader keeps, at one moment, while it runs.

    Only what no earlier backup holds is sent. Logs that are archived stay there. With no leader running in the data
    folder, its store is backed up as it lies there.
    """
    access = BackupAccess(None, config, assignments, data_dir)
    if leader_runs(access, leader):
        with leader_stub(leader, data_dir) as stub:
            done = follow(stub.CreateBackup(backup_pb2.CreateBackupRequest()), "backing up")
            found = stub.GetBackup(backup_pb2.GetBackupRequest(backup_id=done.backup_id), timeout=_SECONDS).backup
    else:
        found = _create_here(access)
    if as_json:
        print_json(as_dict(found))
        return
    out.print(
        f"backup {found.id}: {bytes_text(found.bytes)} in {found.files:,} files, {bytes_text(found.sent_bytes)} sent",
        markup=False,
    )


def _create_here(access: BackupAccess) -> backup_pb2.Backup:
    """Backs up a store that no leader has open."""
    from joblog.leader.access.store import AccessStore
    from joblog.leader.api.backup_status import backup_message
    from joblog.leader.backing_up import make_source
    from joblog.leader.backup.create import Creator, Progress
    from joblog.leader.backup.fence import check_fence
    from joblog.leader.backup.repository import create_repository
    from joblog.leader.backup.restored import incarnation_of
    from joblog.leader.backup.source import drop_leftovers
    from joblog.leader.crypto.keyring import Keyring
    from joblog.leader.crypto.remembered import open_present
    from joblog.leader.crypto.store_keys import StoreKeys

    with access.objects() as objects, access.leader_access.store() as store, bytes_progress() as progress:
        known = open_present(store, access.leader_access.source()).kms
        keyring = Keyring(StoreKeys(store, known, store.store_id))
        drop_leftovers(store)
        repository = create_repository(objects, known.find, known.present, keyring.store_keys)
        check_fence(repository, store.store_id, incarnation_of(store))
        present = known.present.name, known.present.key_id
        people = AccessStore(access.folder.access_store)
        bar = progress.add_task("backing up", total=None)

        def show(at: Progress) -> None:
            progress.update(bar, completed=at.read_bytes, total=at.total_bytes)

        try:
            source = make_source(store, people, access.folder.access, lambda: present)
            made = Creator(repository, source, access.settings.backup.limits(), progress=show).create()
        finally:
            people.close()
    return backup_message(made, None)


@app.command(name="list")
def list_all(
    *,
    as_json: AsJson = False,
    leader: Leader = None,
    recovery: Recovery = None,
    url: Url = None,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
) -> None:
    """List backups, the newest first. Needs no leader."""
    access = BackupAccess(url, config, assignments, data_dir, recovery)
    if not url and leader_runs(access, leader):
        with leader_stub(leader, data_dir) as stub:
            found = stub.ListBackups(backup_pb2.ListBackupsRequest(), timeout=_SECONDS)
    else:
        from joblog.leader.api.backup_status import listed_message
        from joblog.leader.backup.listing import list_backups
        from joblog.leader.backup.repository import open_repository

        with access.objects() as objects:
            repository = open_repository(objects, access.find_kms, access.find_store_key)
            found = listed_message(list_backups(repository, objects.name))
    if as_json:
        print_json([as_dict(backup) for backup in found.backups])
    else:
        _print_list(found)
    for one in found.unreadable:
        err.print(printable(f"joblog: backup {one.id} can't be used: {one.why}"), markup=False)
    if found.unreadable:
        raise typer.Exit(PROBLEMS_EXIT_CODE)


def _print_list(found: backup_pb2.ListBackupsResponse) -> None:
    shown = table("BACKUP", "OF", ">FILES", ">SIZE", ">SENT", "MADE", "VERIFIED")
    for one in found.backups:
        made = "by schedule" if one.reason == "schedule" else "when asked"
        sizes = f"{one.files:,}", bytes_text(one.bytes), bytes_text(one.sent_bytes)
        shown.add_row(one.id, time_text(one.created_ns), *sizes, made, escape(_verified(one)))
    print_table(shown)
    if found.HasField("job") and not found.job.finished_ns:
        job = found.job
        out.print(f"{job.kind} of {job.backup_id}: {bytes_text(job.done_bytes)} of {bytes_text(job.total_bytes)}")
    if found.next_backup_ns:
        out.print(f"the next one is due {time_text(found.next_backup_ns)}", markup=False)


def _verified(one: backup_pb2.Backup) -> str:
    if not one.verified_ns:
        return "never"
    how = ", restored" if one.verified_restored else ""
    return f"{time_text(one.verified_ns)}{how}" + (
        f", {one.verified_problems:,} PROBLEMS" if one.verified_problems else ""
    )


@app.command()
def show(
    backup: Which,
    *,
    as_json: AsJson = False,
    leader: Leader = None,
    recovery: Recovery = None,
    url: Url = None,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
) -> None:
    """Show one backup: what it holds, how much it takes, which KMS it needs. Needs no leader."""
    access = BackupAccess(url, config, assignments, data_dir, recovery)
    if not url and leader_runs(access, leader):
        with leader_stub(leader, data_dir) as stub:
            found = stub.GetBackup(backup_pb2.GetBackupRequest(backup_id=backup), timeout=_SECONDS)
    else:
        from joblog.leader.api.backup_status import shown_message
        from joblog.leader.backup.listing import show_backup

        with access.repository() as repository:
            found = shown_message(show_backup(repository, backup))
    if as_json:
        print_json(as_dict(found))
        return
    one = found.backup
    for name, value in (
        ("backup", one.id),
        ("of", f"{time_text(one.created_ns)}, store {one.store_id} on {one.host}, joblog {one.version}"),
        ("holds", f"{one.files:,} files, {bytes_text(one.bytes)}"),
        ("takes", f"{found.objects:,} objects, {bytes_text(found.stored_bytes)}, shared with other backups"),
        ("sent", bytes_text(one.sent_bytes)),
        ("KMS", f"{one.kms}, key {one.kms_key_id}"),
        ("verified", _verified(one)),
    ):
        out.print(f"{name:<9} {printable(value)}", markup=False)
    if found.missing:
        err.print(f"joblog: {found.missing:,} objects are missing: it can't be restored as a whole", markup=False)
        raise typer.Exit(PROBLEMS_EXIT_CODE)


@app.command()
def verify(
    backup: Annotated[str, typer.Argument(metavar="[BACKUP]", help="The backup's id, or `latest`.")] = "latest",
    *,
    restore: Annotated[
        bool, typer.Option("--restore", help="Restore it into a scratch folder too, and read every log there whole.")
    ] = False,
    as_json: AsJson = False,
    leader: Leader = None,
    recovery: Recovery = None,
    url: Url = None,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
) -> None:
    """Read a backup back, whole, and check every byte. Needs no leader.

    Exit code 0: all is as it was. 1: something is missing or damaged.
    """
    access = BackupAccess(url, config, assignments, data_dir, recovery)
    if not url and leader_runs(access, leader):
        request = backup_pb2.VerifyBackupRequest(backup_id=backup, restore=restore)
        with leader_stub(leader, data_dir) as stub:
            done = follow(stub.VerifyBackup(request), "verifying")
        found: dict[str, Any] = {"id": done.backup_id, "logs": done.logs, "bytes": done.total_bytes}
        problems = list(done.problems)
    else:
        found, problems = _verify_here(access, backup, restore=restore)
    if as_json:
        print_json({**found, "restored": restore, "problems": problems})
    else:
        for problem in problems:
            out.print(printable(problem), markup=False)
        logs = f", {found['logs']:,} logs read" if restore else ""
        err.print(f"backup {found['id']}: {bytes_text(found['bytes'])} read back{logs}, {len(problems):,} problems")
    if problems:
        raise typer.Exit(PROBLEMS_EXIT_CODE)


def _verify_here(access: BackupAccess, backup: str, *, restore: bool) -> tuple[dict[str, Any], list[str]]:
    import tempfile
    from pathlib import Path

    from joblog.leader.backup.verify import BackupVerifier, note_verified

    with access.repository() as repository, bytes_progress() as progress:
        manifest = repository.manifest(repository.resolve(backup))
        bar = progress.add_task(f"verifying {manifest.summary.id}", total=None)
        verifier = BackupVerifier(
            repository, manifest, progress=lambda done, total: progress.update(bar, completed=done, total=total)
        )
        if restore:
            with tempfile.TemporaryDirectory(prefix="joblog-verify-") as scratch, access.archive_reader() as archive:
                checked = verifier.verify_restored(Path(scratch) / "restored", access.restore_keys(), archive=archive)
        else:
            checked = verifier.verify()
        try:
            note_verified(repository, checked)
        except JoblogError as error:
            err.print(printable(f"joblog: that it was verified can't be noted: {error}"), markup=False)
    return {"id": checked.id, "logs": checked.logs, "bytes": checked.bytes}, checked.problems


@app.command()
def prune(
    *,
    keep_last: Annotated[int, typer.Option("--keep-last", metavar="N", min=0, help="Keep the N newest.")] = 0,
    keep_days: Annotated[
        float, typer.Option("--keep-days", metavar="DAYS", min=0, help="Keep those that are younger.")
    ] = 0.0,
    keep_daily: Annotated[
        int, typer.Option("--keep-daily", metavar="N", min=0, help="Keep the newest one of each of the last N days.")
    ] = 0,
    keep_weekly: Annotated[
        int, typer.Option("--keep-weekly", metavar="N", min=0, help="Keep the newest one of each of the last N weeks.")
    ] = 0,
    keep_monthly: Annotated[
        int,
        typer.Option("--keep-monthly", metavar="N", min=0, help="Keep the newest one of each of the last N months."),
    ] = 0,
    drop: Annotated[
        list[str] | None,
        typer.Option("--drop", metavar="BACKUP", help="Delete this one, whatever the rules say; may be given again."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    as_json: AsJson = False,
    leader: Leader = None,
    url: Url = None,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
) -> None:
    """Delete backups that no rule keeps, and what no backup needs any more. Needs no leader.

    Without rules and --drop, those of backup.keep_last and the like count. The newest backup of a store is kept in any
    case. Safe beside a backup that is being made, and when it is ended before its end.
    """
    request = backup_pb2.PruneBackupsRequest(
        keep_last=keep_last,
        keep_days=keep_days,
        keep_daily=keep_daily,
        keep_weekly=keep_weekly,
        keep_monthly=keep_monthly,
        drop=drop or [],
        dry_run=dry_run,
    )
    access = BackupAccess(url, config, assignments, data_dir)
    if not url and leader_runs(access, leader):
        with leader_stub(leader, data_dir) as stub:
            found = stub.PruneBackups(request, timeout=24 * 3600.0)
    else:
        from joblog.leader.api.backup_status import pruned_message, rules_of
        from joblog.leader.backup.prune import prune_backups

        rules = rules_of(request)
        if not rules and not drop:
            rules = access.settings.backup.keep()
        with access.repository() as repository:
            found = pruned_message(prune_backups(repository, rules, drop=set(request.drop), dry_run=dry_run))
    if as_json:
        print_json(as_dict(found))
        return
    for one in found.kept:
        out.print(f"kept     {one.id}  {', '.join(one.rules)}", markup=False)
    for backup_id in found.deleted:
        out.print(f"{'would go' if dry_run else 'deleted '} {backup_id}", markup=False)
    err.print(
        f"{found.deleted_objects:,} objects, {bytes_text(found.deleted_bytes)} "
        f"{'would be deleted' if dry_run else 'deleted'}"
    )
    if found.waits_for:
        err.print(f"joblog: some objects stay until backup {', '.join(found.waits_for)} is made; prune again then")
