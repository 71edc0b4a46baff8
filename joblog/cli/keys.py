"""`joblog keys`: the keys that logs are encrypted under, and the KMS that wraps them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from rich.markup import escape

from joblog.cli.archive_access import PASSPHRASE_VARIABLE, ArchiveAccess, read_recovery, recovery_passphrase
from joblog.cli.daemons import Config, Set, collect_flags
from joblog.cli.options import AsJson, DataDir, Leader, open_client
from joblog.cli.output import err, out, print_json, print_table, table
from joblog.cli.words import as_dict, printable, time_text
from joblog.errors import Conflict, InvalidInput, Unavailable
from joblog.replies import error_from
from joblog.v1 import keys_pb2, keys_pb2_grpc

app = typer.Typer(name="keys", help="The keys that logs are encrypted under, and the KMS.", no_args_is_help=True)

_SECONDS = 30.0


@app.callback()
def root() -> None:
    """The keys that logs are encrypted under, and the KMS."""


@contextmanager
def _stub(leader: str | None, data_dir: Path | None) -> Iterator[Any]:
    with open_client(leader, data_dir) as client:
        try:
            yield client.stub(keys_pb2_grpc.KeysStub)
        except grpc.RpcError as error:
            raise error_from(error, client.leader) from None


@app.command()
def status(
    *,
    count: Annotated[bool, typer.Option("--count", help="Count the logs of each store key.")] = False,
    as_json: AsJson = False,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Print which KMS wraps the keys, the store keys, and what still depends on another KMS or key."""
    with _stub(leader, data_dir) as stub:
        found: keys_pb2.GetKeysResponse = stub.GetKeys(keys_pb2.GetKeysRequest(count_logs=count), timeout=_SECONDS)
    if as_json:
        print_json(as_dict(found))
        return
    version = f", version {found.kms_key_version}" if found.kms_key_version else ""
    days = f"a new store key every {found.store_key_days} days" if found.store_key_days else "store keys are kept"
    out.print(f"KMS {found.kms}, key {found.kms_key_id}{version}; {days}", markup=False)
    out.print(f"{found.kms_calls:,} requests to KMSes since {time_text(found.started_ns)}", markup=False)
    shown = table("STORE KEY", "MADE", "WRAPPED BY", "STATE", *([">LOGS"] if count else []))
    for key in found.store_keys:
        by = " ".join(part for part in (key.kms, key.kms_key_id, key.kms_key_version) if part)
        made = time_text(key.made_ns) if key.made_ns else "not known"
        logs = [f"{key.logs:,}"] if count else []
        shown.add_row(key.id.hex(), made, escape(printable(by)), ", ".join(_words(key, found)), *logs)
    print_table(shown)
    for warning in [*found.warnings, *_depends(found)]:
        out.print(f"[yellow]warning[/yellow]  {escape(printable(warning))}")


def _words(key: keys_pb2.StoreKeyStatus, found: keys_pb2.GetKeysResponse) -> Iterator[str]:
    if key.current:
        yield "current"
    if not key.present:
        yield "other KEK" if (key.kms, key.kms_key_id) != (found.kms, found.kms_key_id) else "older version"
    if not key.archived:
        yield "not in the archive"
    if not key.open:
        yield "not opened yet"


def _depends(found: keys_pb2.GetKeysResponse) -> Iterator[str]:
    old = {(key.kms, key.kms_key_id, key.kms_key_version) for key in found.store_keys if not key.present}
    for kms, key_id, version in sorted(old):
        name = f"KMS {kms}, key {key_id}" + (f", version {version}" if version else "")
        yield f"{name} must not be destroyed: it wraps store keys here; `joblog keys rewrap` moves them"
    behind = sum(not key.archived for key in found.store_keys)
    if behind:
        yield (
            f"the archive lacks the newest copies of {behind} store keys: keep the KEK from before until `joblog keys "
            "rewrap` has come to its end"
        )


@app.command()
def rotate(
    *,
    kek: Annotated[bool, typer.Option("--kek", help="Have the KMS make a new version of the KEK first.")] = False,
    as_json: AsJson = False,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Make a new store key, for new logs. Those that are there stay with theirs."""
    with _stub(leader, data_dir) as stub:
        made: keys_pb2.RotateKeysResponse = stub.RotateKeys(keys_pb2.RotateKeysRequest(kek=kek), timeout=_SECONDS)
    if as_json:
        print_json(as_dict(made))
        return
    if kek:
        out.print(f"the KEK has version {made.kms_key_version}; `joblog keys rewrap` wraps store keys under it")
    out.print(f"new logs are encrypted under store key {made.store_key_id.hex()}")


@app.command()
def rewrap(
    *,
    to: Annotated[
        str | None, typer.Option("--to", metavar="KIND", help="Move to a KMS of this kind (keys.kind).")
    ] = None,
    as_json: AsJson = False,
    config: Config = None,
    assignments: Set = None,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Wrap all store keys anew: under the newest version of the KEK, or with --to by another KMS.

    No log is touched, and a running leader goes on. Ended before the end, it goes on when it is run again. The other
    KMS is named by settings below keys., in --set, --config or variables (secrets in variables or the file alone):
    those that the leader will need from its next start on.
    """
    request = keys_pb2.RewrapKeysRequest(to=_target(to, config, assignments) if to else {})
    if not to and (config or assignments):
        raise InvalidInput("settings of another KMS are given without --to: name its kind")
    last: keys_pb2.RewrapKeysResponse | None = None
    with _stub(leader, data_dir) as stub:
        for step in stub.RewrapKeys(request):
            last = step
    if last is None or not last.finished:
        raise Unavailable("the leader did not come to the end: run the same again")
    if as_json:
        print_json(as_dict(last))
        return
    out.print(
        f"{last.done:,} store keys are wrapped by KMS {last.kms}, key {last.kms_key_id}; {last.archived:,} copies in "
        "the archive were written",
        markup=False,
    )
    if to:
        err.print("joblog: set this for the leader before its next start:", markup=False)
        for name, value in sorted(last.settings.items()):
            err.print(printable(f"  keys.{name} = {value!r}"), markup=False)


def _target(kind: str, config: Path | None, assignments: list[str] | None) -> dict[str, str]:
    """Settings below keys. that were given here, by their names there. Raises InvalidSettings."""
    from joblog.leader.settings import LeaderSettings
    from joblog.settings import DEFAULT, load

    flags = collect_flags(assignments, {"keys.kind": kind})
    loaded = load(LeaderSettings, file=config, environ=os.environ, flags=flags)
    given = {}
    for key in loaded.sources:
        section, _, name = key.partition(".")
        if section == "keys" and loaded.source(key) != DEFAULT:
            value: Any = loaded.values
            for part in key.split("."):
                value = getattr(value, part)
            given[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return given


@app.command()
def export(
    *,
    to: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="A new file, made with mode 0600.")] = None,
    stdout: Annotated[bool, typer.Option("--stdout", help="Write to standard output instead.")] = False,
    passphrase: Annotated[
        bool,
        typer.Option("--passphrase", help=f"Wrap the keys under a passphrase, taken from {PASSPHRASE_VARIABLE}."),
    ] = False,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Write a recovery file with all store keys, to be kept elsewhere.

    As it is, it opens with the KMS. With --passphrase it opens without: whoever has both can read every log. It is used
    by `joblog keys import`, and by --keys of `joblog archive`.
    """
    if stdout == (to is not None):
        raise InvalidInput("say where to: --out FILE, or --stdout")
    if to is not None and os.path.lexists(to):
        raise Conflict(f"{to} is there already: name a new file")
    request = keys_pb2.ExportKeysRequest(passphrase=recovery_passphrase() if passphrase else "")
    with _stub(leader, data_dir) as stub:
        found: keys_pb2.ExportKeysResponse = stub.ExportKeys(request, timeout=_SECONDS)
    if to is None:
        os.write(1, found.keys)
        return
    descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(found.keys)
        file.flush()
        os.fsync(descriptor)
    out.print(f"{found.store_keys:,} store keys are in {to}", markup=False)


@app.command(name="import")
def import_keys(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A recovery file.", exists=True, dir_okay=False)],
    *,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
) -> None:
    """Put the store keys of a recovery file into the leader's store, wrapped by the KMS that is set.

    For a store whose KEK is lost, or that was brought back from before its keys were moved. The leader must not run.
    """
    access = ArchiveAccess(None, config, assignments, data_dir)
    with access.store() as store:
        from joblog.leader.recovery import import_into

        found = read_recovery(file)
        done = import_into(store, access.source(), found.keys, found.kms)
    out.print(f"{done:,} store keys were put into {access.folder.store}", markup=False)
