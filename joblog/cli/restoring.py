"""`joblog restore`: a whole backup into a data folder, or single runs into a running leader."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from joblog import paths
from joblog.cli.backup_access import BackupAccess, Recovery, Url, Which, leader_stub
from joblog.cli.backups import PROBLEMS_EXIT_CODE, follow
from joblog.cli.daemons import Config, Set
from joblog.cli.options import DEFAULT, AsJson, DataDir, Leader, Namespace
from joblog.cli.output import bytes_progress, err, out, print_json
from joblog.cli.words import as_dict, bytes_text, printable, time_text
from joblog.errors import InvalidInput
from joblog.identity import check_name
from joblog.v1 import backup_pb2

if TYPE_CHECKING:
    from joblog.leader.backup.manifest import Summary
    from joblog.leader.backup.restore import Plan, Restored


def restore(
    backup: Which,
    *,
    to: Annotated[
        Path | None,
        typer.Option("--to", metavar="FOLDER", help="The data folder to restore into. Without it: that of --data-dir."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done, and whether it can be.")
    ] = False,
    runs: Annotated[
        list[str] | None,
        typer.Option(
            "--run",
            metavar="[NAMESPACE:]RUN",
            help="Take only this run, into the running leader; may be given again.",
        ),
    ] = None,
    discard_old: Annotated[
        bool, typer.Option("--discard-old", help="Delete what the folder held before, once the backup is in its place.")
    ] = False,
    as_json: AsJson = False,
    namespace: Namespace = DEFAULT,
    leader: Leader = None,
    recovery: Recovery = None,
    url: Url = None,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
) -> None:
    """Restore a backup: the whole store into a data folder where no leader runs, or single runs into a running leader.

    All of it is fetched and checked before the folder changes. What was there is set aside and kept, unless
    --discard-old is given. Ended before its end, it goes on when it is run again. The KMS must be the one that the
    backups need.
    """
    if runs:
        if to is not None or discard_old or dry_run or recovery is not None or url:
            raise InvalidInput("--run takes runs into the running leader, which knows the rest: leave out the others")
        _restore_runs(backup, [_run_name(text, namespace) for text in runs], leader, data_dir, as_json=as_json)
        return
    from joblog.leader.backup.restore import Restore

    folder = paths.DataFolder(paths.data_dir(to if to is not None else data_dir, os.environ if to is None else {}))
    # A key file that lies in the folder already counts more than that of the folder that is usual.
    beside = to if to is not None and folder.kek_file.exists() else data_dir
    access = BackupAccess(url, config, assignments, beside, recovery)
    if to is None:
        folder = access.folder
    with access.repository() as repository, bytes_progress() as progress:
        manifest = repository.manifest(repository.resolve(backup))
        bar = progress.add_task(f"restoring {manifest.summary.id}", total=None, visible=not dry_run)
        work = Restore(
            repository,
            manifest,
            folder,
            access.restore_keys(),
            archived_access=access.archived_access,
            progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )
        plan = work.plan() if dry_run else None
        done = work.run(discard_old=discard_old) if not dry_run else None
    if plan is not None:
        _print_plan(plan, as_json=as_json)
    if done is not None:
        _print_done(manifest.summary, done, access, folder, as_json=as_json)


def _print_plan(plan: Plan, *, as_json: bool) -> None:
    if as_json:
        said = {**plan._asdict(), "folder": str(plan.folder), "set_aside": [str(path) for path in plan.set_aside]}
        print_json(said)
        return
    free = bytes_text(plan.free_bytes)
    out.print(f"backup {plan.backup_id} of {time_text(plan.created_ns)}", markup=False)
    out.print(f"{plan.files:,} files, {bytes_text(plan.bytes)}, into {plan.folder}; {free} free", markup=False)
    for path in plan.set_aside:
        out.print(f"would be set aside: {path}", markup=False)


def _print_done(
    summary: Summary, done: Restored, access: BackupAccess, folder: paths.DataFolder, *, as_json: bool
) -> None:
    if as_json:
        aside = [str(path) for path in done.aside]
        print_json({"id": summary.id, "folder": str(done.folder), "set_aside": aside, "warnings": done.warnings})
        return
    for warning in done.warnings:
        err.print(printable(f"joblog: {warning}"), markup=False)
    out.print(f"backup {summary.id} of {time_text(summary.created_ns)} is in {done.folder}", markup=False)
    for path in done.aside:
        out.print(f"what was there before is kept in {path}; delete it when it is not needed any more", markup=False)
    kek_file = access.leader_access.folder.kek_file
    keys = access.settings.keys
    if keys.kind == "file" and keys.file is None and kek_file != folder.kek_file:
        err.print(f"joblog: put the key file {kek_file} into {folder.leader} too, or set keys.file", markup=False)


def _run_name(text: str, namespace: str) -> tuple[str, str]:
    """(namespace, run) of [NAMESPACE:]RUN. Raises InvalidInput."""
    named, colon, run = text.rpartition(":")
    return check_name("namespace", named if colon else namespace), check_name("run", run)


def _restore_runs(
    backup: str, runs: list[tuple[str, str]], leader: str | None, data_dir: Path | None, *, as_json: bool
) -> None:
    request = backup_pb2.RestoreRunsRequest(
        backup_id=backup, runs=[backup_pb2.RunName(namespace=namespace, run=run) for namespace, run in runs]
    )
    with leader_stub(leader, data_dir) as stub:
        done = follow(stub.RestoreRuns(request), "restoring runs of")
    if as_json:
        print_json(as_dict(done))
    else:
        for problem in done.problems:
            err.print(printable(f"joblog: {problem}"), markup=False)
        out.print(f"{done.logs:,} logs were taken from backup {done.backup_id}", markup=False)
    if done.problems:
        raise typer.Exit(PROBLEMS_EXIT_CODE)
