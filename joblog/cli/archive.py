"""`joblog archive`: what can be seen and done in an archive with no leader."""

from __future__ import annotations

import time
from itertools import groupby
from typing import Annotated, Any

import typer
from rich.markup import escape

from joblog.cli.archive_access import ArchiveAccess, Recovery, Url, count_progress, read_recovery
from joblog.cli.daemons import Config, Set
from joblog.cli.main import BROKEN_PIPE_EXIT_CODE
from joblog.cli.options import DEFAULT, AsJson, DataDir, LogPath, Namespace, Raw, parse_target
from joblog.cli.output import bytes_progress, err, out, print_json, print_table, table
from joblog.cli.terminal import LogOutput
from joblog.cli.words import bytes_text, printable, time_text
from joblog.errors import InvalidInput
from joblog.formats import gap_reason
from joblog.identity import LogName, check_name, parse_log_path

app = typer.Typer(name="archive", help="See and mend an archive, with no leader.", no_args_is_help=True)

PROBLEMS_EXIT_CODE = 1


@app.callback()
def root() -> None:
    """See and mend an archive, with no leader."""


@app.command()
def ls(
    path: Annotated[str | None, typer.Argument(metavar="[RUN[/TASK[/ATTEMPT]]]", help="Only these logs.")] = None,
    *,
    all_namespaces: Annotated[bool, typer.Option("--all", help="The logs of every namespace.")] = False,
    as_json: AsJson = False,
    namespace: Namespace = DEFAULT,
    url: Url = None,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
) -> None:
    """List the sealed logs in an archive, from the names of its objects alone."""
    if path is not None and all_namespaces:
        raise InvalidInput("a log is named together with --all: choose one")
    access = ArchiveAccess(url, config, assignments, data_dir)
    found: list[dict[str, Any]] = []
    with access.objects() as objects:
        from joblog.leader.archive.layout import METADATA_NAME, PLAIN_NAME, SEALED_NAME, parse_log_key
        from joblog.leader.archive.objects import walk

        prefix = "" if all_namespaces else _prefix(path, namespace)
        parsed = ((key, info) for info in walk(objects, prefix) if (key := parse_log_key(info.key)) is not None)
        for name, group in groupby(parsed, key=lambda item: item[0].name):
            files = {key.file: info for key, info in group}
            sealed = files.get(SEALED_NAME)
            found.append(
                {
                    **name._asdict(),
                    "sealed": sealed is not None and METADATA_NAME in files,
                    "bytes": sum(info.size for info in files.values()),
                    "segments": len(files.keys() - {SEALED_NAME, METADATA_NAME, PLAIN_NAME}),
                    "modified_ns": max(info.modified_ns for info in files.values()),
                }
            )
    if as_json:
        print_json(found)
        return
    shown = table("LOG", "STATE", ">STORED", "SEALED")
    for one in found:
        log = str(LogName(one["namespace"], one["run"], one["task"], one["attempt"]))
        state = "sealed" if one["sealed"] else "not sealed"
        shown.add_row(escape(log), state, bytes_text(one["bytes"]), time_text(one["modified_ns"]))
    print_table(shown)


def _prefix(path: str | None, namespace: str) -> str:
    from joblog.leader.archive.layout import namespace_prefix, run_prefix

    check_name("namespace", namespace)
    if path is None:
        return namespace_prefix(namespace)
    name = parse_target(path, namespace)
    parts = [part for part in (name.task, str(name.attempt or "")) if part]
    return run_prefix(namespace, name.run) + "".join(part + "/" for part in parts)


@app.command()
def cat(
    path: LogPath,
    *,
    from_offset: Annotated[int, typer.Option("--from", metavar="OFFSET", min=0, help="Start at a byte.")] = 0,
    raw: Raw = False,
    namespace: Namespace = DEFAULT,
    recovery: Recovery = None,
    url: Url = None,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
) -> None:
    """Print a log from the bucket and the key alone, with no leader.

    A whole sealed log is held against its seal. Of a live log, what is archived is printed. What is missing is told on
    stderr. On a terminal only colours pass, as with `joblog logs`. Exit code 1: bytes are missing that the seal does
    not say to be, or they are not those that were written.
    """
    name = parse_log_path(path, namespace)
    access = ArchiveAccess(url, config, assignments, data_dir)
    with access.objects() as objects:
        from joblog.leader.archive.cat import LogParts, Sums, find_log, open_log

        located = find_log(objects, name)
        sums = Sums()
        lost = False
        cipher = open_log(access.keys(objects, recovery), located.metadata)
        with LogParts(objects, cipher, located, foreign=access.foreign()) as parts, LogOutput(raw=raw) as output:
            try:
                for part in parts.parts(from_offset):
                    if part.reason:
                        why = part.why or gap_reason(part.reason)  # type: ignore[arg-type]
                        err.print(
                            printable(f"joblog: {part.length:,} bytes missing at offset {part.offset}: {why}"),
                            markup=False,
                        )
                        lost = lost or bool(part.why)
                    output.write(1, part.data)
                    sums.add(part)
            except BrokenPipeError:
                raise typer.Exit(BROKEN_PIPE_EXIT_CODE) from None
    problems = sums.compare(located.metadata.record.seal) if located.sealed and not from_offset else []
    for problem in problems:
        err.print(printable(f"joblog: {problem}"), markup=False)
    if problems or lost:
        raise typer.Exit(PROBLEMS_EXIT_CODE)
    if not located.sealed:
        err.print(f"joblog: the log is not sealed; {located.length:,} bytes of it are archived", markup=False)


@app.command()
def verify(
    path: Annotated[str | None, typer.Argument(metavar="[RUN[/TASK[/ATTEMPT]]]", help="Only these logs.")] = None,
    *,
    as_json: AsJson = False,
    namespace: Namespace = DEFAULT,
    recovery: Recovery = None,
    url: Url = None,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
) -> None:
    """Read every object of an archive and hold it against its seal, from the bucket and the key alone.

    Exit code 0: all is as it was written. 1: something is missing or damaged.
    """
    access = ArchiveAccess(url, config, assignments, data_dir)
    prefix = "" if path is None else _prefix(path, namespace)
    found: list[dict[str, Any]] = []
    logs = total = 0
    with access.objects() as objects, bytes_progress() as progress:
        from joblog.leader.archive.verify import Verifier

        bar = progress.add_task("verifying", total=None)
        for checked in Verifier(objects, access.keys(objects, recovery), foreign=access.foreign()).run(prefix):
            logs += bool(checked.name)
            total += checked.bytes
            progress.update(bar, completed=total)
            if as_json or checked.problems:
                found.append(checked._asdict())
            if checked.problems and not as_json:
                out.print(f"{escape(checked.name or checked.key)}: [red]NOT COMPLETE[/red]")
                for problem in checked.problems:
                    out.print(f"  {printable(problem)}", markup=False)
    bad = sum(bool(one["problems"]) for one in found)
    if as_json:
        print_json(found)
    else:
        err.print(f"{logs:,} sealed logs, {total:,} bytes of logs verified, {bad:,} objects with problems")
    if bad:
        raise typer.Exit(PROBLEMS_EXIT_CODE)


@app.command()
def rebuild(
    *,
    recovery: Recovery = None,
    url: Url = None,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
) -> None:
    """Make the catalog of a new leader from the bucket and the key alone, in an empty data folder.

    The archive is taken over: a leader that still writes to it stops. Give the key file that its logs were written
    with (keys.file, or leader/kek.key in the data folder). One that was interrupted goes on when it is run again. Exit
    code 1: objects could not be used; the rest is there.
    """
    access = ArchiveAccess(url, config, assignments, data_dir)
    found = None if recovery is None else read_recovery(recovery)
    # Where the KEK is lost, a new one takes its place.
    source = access.source()
    present = source.open(source.describe(), create=found is not None and found.kms is not None)
    with access.objects() as objects, access.store(create=True) as store, count_progress() as progress:
        from joblog.leader.archive.key_objects import archive_keys
        from joblog.leader.archive.rebuild import Rebuild
        from joblog.leader.archived_holds import restore_holds
        from joblog.leader.crypto.keyring import Keyring
        from joblog.leader.crypto.known_kms import KnownKms

        bars = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what)
            progress.update(bars[what], completed=done, total=total or None)

        known = KnownKms(present, [found.kms] if found is not None and found.kms is not None else [])
        keyring = Keyring.open(store, known, store.store_id)
        copies = None if found is None else found.copies
        described = archive_keys(objects, known, copies)
        with access.restoring(objects, described, keyring, store) as restore:

            def claimed() -> None:
                restore_holds(store, objects, described)
                restore()

            rebuilt = Rebuild(store, keyring, objects, keys=described, claimed=claimed).run(show)
    for key, why in rebuilt.problems:
        err.print(printable(f"joblog: {key}: {why}"), markup=False)
    out.print(
        f"{rebuilt.sealed:,} sealed logs and {rebuilt.live:,} live ones are in {access.folder.store}, "
        f"{rebuilt.bytes:,} bytes; {len(rebuilt.problems):,} objects could not be used",
        markup=False,
    )
    if rebuilt.problems:
        raise typer.Exit(PROBLEMS_EXIT_CODE)


@app.command()
def gc(
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Delete them. Without it they are only listed.")] = False,
    min_age_hours: Annotated[
        float, typer.Option("--min-age", metavar="HOURS", min=0, help="Pass over objects that are younger.")
    ] = 24.0,
    as_json: AsJson = False,
    url: Url = None,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
) -> None:
    """Find objects that nothing needs: left behind when a leader was killed or lost its disk.

    Run it with the data folder of the leader that has the archive, while that is stopped. What a leader does not need
    any more it deletes by itself. Uploads that were never completed are dropped too.
    """
    access = ArchiveAccess(url, config, assignments, data_dir)
    with access.catalog("gc") as store, access.objects() as objects:
        from joblog.leader.archive.gc import Collector

        collector = Collector(objects, store, min_age_seconds=min_age_hours * 3600)
        orphans = list(collector.find())
        uploads = 0
        if delete:
            with count_progress() as progress:
                bar = progress.add_task("deleting", total=len(orphans))
                for gone in collector.delete(orphans):
                    progress.advance(bar, len(gone))
            uploads = objects.drop_uploads(min_age_hours * 3600)
    if as_json:
        print_json({"deleted": delete, "uploads_dropped": uploads, "orphans": [one._asdict() for one in orphans]})
        return
    for one in orphans:
        out.print(f"{one.key}  {bytes_text(one.size)}  {time_text(one.modified_ns)}  {one.why}", markup=False)
    size = bytes_text(sum(one.size for one in orphans))
    said = f"deleted, {uploads:,} uploads dropped" if delete else "found; nothing was deleted, --delete does"
    err.print(f"{len(orphans):,} orphans, {size}, {said}")


@app.command()
def cost(
    *,
    storage: Annotated[float, typer.Option("--storage", metavar="PRICE", min=0, help="Per GB and month.")] = 0.023,
    puts: Annotated[float, typer.Option("--puts", metavar="PRICE", min=0, help="Per 1,000 writes.")] = 0.005,
    gets: Annotated[float, typer.Option("--gets", metavar="PRICE", min=0, help="Per 1,000 reads.")] = 0.0004,
    as_json: AsJson = False,
    url: Url = None,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
) -> None:
    """What an archive costs: requests, bytes, and money at the prices given, per month and per million tasks.

    Counted from its objects: logs as they came in the last 30 days, and a leader that flushes without rest, which is
    the most that it asks for. Where the leader of the data folder runs, what it has asked for since it started is told
    too ("as counted"). The prices are in any currency; the defaults are US dollars for S3 Standard.
    """
    access = ArchiveAccess(url, config, assignments, data_dir)
    with access.objects() as objects:
        from joblog.leader.archive.cost import Prices, million_tasks, month, take_census
        from joblog.leader.archive.objects import walk

        prices = Prices(storage, puts, gets)
        census = take_census(walk(objects, ""), time.time_ns())
        asked = access.settings.archive
        costs = {"a month": month(census, prices, asked.flush_interval_seconds, asked.claim_renew_seconds)}
        if (tasks := million_tasks(census, prices)) is not None:
            costs["a million tasks"] = tasks
        if (counted := access.counted()) is not None:
            costs["a month as counted"] = counted.for_month(census, prices)
            if (tasks := counted.for_million_tasks(census, prices)) is not None:
                costs["a million tasks as counted"] = tasks
    if as_json:
        found = {**census._asdict(), "bytes": census.bytes}
        priced = {what.replace(" ", "_"): {**one._asdict(), "money": one.money} for what, one in costs.items()}
        print_json({"archive": found, **priced})
        return
    out.print(f"{census.logs:,} sealed logs, {bytes_text(census.bytes)} in all, {census.recent_logs:,} logs in 30 days")
    shown = table("FOR", ">WRITES", ">READS", ">STORED", ">STORAGE", ">REQUESTS", ">TOTAL")
    for what, one in costs.items():
        money = (f"{value:,.2f}" for value in (one.storage_money, one.request_money, one.money))
        shown.add_row(what, f"{one.puts:,}", f"{one.gets:,}", bytes_text(one.bytes), *money)
    print_table(shown)


@app.command()
def init(
    *,
    upload_days: Annotated[
        int,
        typer.Option("--upload-days", metavar="DAYS", min=0, help="Drop unfinished uploads after so long; 0: never."),
    ] = 7,
    live_days: Annotated[
        int,
        typer.Option(
            "--live-days",
            metavar="DAYS",
            min=0,
            help="In a bucket with versions, drop those of deleted packs after so long; 0: never.",
        ),
    ] = 7,
    url: Url = None,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
) -> None:
    """Make the bucket or folder where it is missing, and give it rules that drop what is left behind."""
    access = ArchiveAccess(url, config, assignments, data_dir)
    with access.objects() as objects:
        objects.check(create=True)
        ruled = objects.set_lifecycle(live_days=live_days, upload_days=upload_days)
        out.print(f"{objects.name} can be used", markup=False)
        if ruled:
            out.print(
                f"unfinished uploads go after {upload_days} days, versions of dead packs after {live_days} (0: never)"
            )
        else:
            err.print("joblog: it has no rules of its own that could be set; `joblog archive gc` finds what is left")
