"""`joblog token`, `joblog certificates`: who may do what at a leader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import grpc
import typer
from rich.markup import escape

from joblog.cli.options import AsJson, DataDir, Leader, chosen_data_dir, open_client
from joblog.cli.output import err, out, print_json, print_table, table
from joblog.cli.words import as_dict, bytes_text, printable, time_text
from joblog.errors import InvalidInput, NotFound
from joblog.paths import DataFolder
from joblog.replies import error_from
from joblog.v1 import access_pb2, access_pb2_grpc
from joblog.values import parse_duration, parse_size

app = typer.Typer(name="token", help="Tokens: who may do what at a leader.", no_args_is_help=True)
certificates_app = typer.Typer(name="certificates", help="Certificates of workers.", no_args_is_help=True)

_SECONDS = 30.0
_PAGE = 500
DEFAULT_LIFETIME = "90d"
NEVER = "never"


class Role(StrEnum):
    """What a token may do."""

    admin = "admin"
    operator = "operator"
    reader = "reader"
    viewer = "viewer"
    writer = "writer"


def parse_lifetime(text: str) -> int:
    """Seconds from a text such as "30d", "12h" or "never", which is 0. Raises InvalidInput."""
    if text == NEVER:
        return 0
    try:
        return parse_duration(text)
    except InvalidInput as error:
        raise InvalidInput(f"lifetime {error}, or {NEVER}") from None


@contextmanager
def _stub(leader: str | None, data_dir: Path | None) -> Iterator[Any]:
    with open_client(leader, data_dir) as client:
        try:
            yield client.stub(access_pb2_grpc.AccessStub)
        except grpc.RpcError as error:
            raise error_from(error, client.leader) from None


def _size(text: str | None) -> int:
    return parse_size(text) if text else 0


@app.callback()
def root() -> None:
    """Tokens: who may do what at a leader."""


RoleOption = Annotated[
    Role,
    typer.Option(
        "--role",
        help="admin: everything. operator: status, keys, workers, that runs exist, no log's content. reader: logs. "
        "viewer: that runs exist and how they ended. writer: workers, which read nothing.",
    ),
]
Globs = Annotated[
    list[str] | None,
    typer.Option("--namespace", "-n", metavar="GLOB", help="Namespaces, as team-*; can be repeated. Without it: all."),
]
Name = Annotated[str, typer.Option("--name", metavar="TEXT", help="For lists and the audit log.")]
WorkerId = Annotated[str, typer.Option("--worker-id", metavar="ID", help="Only this worker may join and push with it.")]
Lifetime = Annotated[
    str, typer.Option("--lifetime", metavar="TIME", help=f"How long it is good, as 12h or 30d; {NEVER}: no end.")
]
Address = Annotated[
    str,
    typer.Option(
        "--address", metavar="HOST:PORT", help="Where its holder finds the leader. Without it: as the leader says."
    ),
]
BytesPerDay = Annotated[
    str | None, typer.Option("--bytes-per-day", metavar="SIZE", help="Log bytes that it may write in a day.")
]
StoredBytes = Annotated[
    str | None, typer.Option("--stored-bytes", metavar="SIZE", help="Bytes of its logs that the leader keeps.")
]
LiveLogs = Annotated[int, typer.Option("--live-logs", min=0, help="Live logs at once; 0: no limit.")]
RequestsPerSecond = Annotated[
    int, typer.Option("--requests-per-second", min=0, help="Requests of a reader; 0: no limit.")
]


@app.command()
def create(
    *,
    role: RoleOption,
    namespaces: Globs = None,
    name: Name = "",
    worker_id: WorkerId = "",
    lifetime: Lifetime = DEFAULT_LIFETIME,
    address: Address = "",
    bytes_per_day: BytesPerDay = None,
    stored_bytes: StoredBytes = None,
    live_logs: LiveLogs = 0,
    requests_per_second: RequestsPerSecond = 0,
    as_json: AsJson = False,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Make a token. It alone is printed on stdout, this once: the leader keeps a hash.

    Nobody can grant more than they may do themselves.
    """
    grant = access_pb2.Grant(role=role.value, namespaces=namespaces or ["*"])
    request = access_pb2.CreateTokenRequest(
        name=name or f"{role.value} of {','.join(grant.namespaces)}"[:100],
        grants=[grant],
        worker_id=worker_id,
        lifetime_seconds=parse_lifetime(lifetime),
        address=address,
        quota=access_pb2.Quota(
            bytes_per_day=_size(bytes_per_day),
            stored_bytes=_size(stored_bytes),
            live_logs=live_logs,
            requests_per_second=requests_per_second,
        ),
    )
    with _stub(leader, data_dir) as stub:
        made: access_pb2.CreateTokenResponse = stub.CreateToken(request, timeout=_SECONDS)
    if as_json:
        print_json(as_dict(made))
        return
    token = made.token
    until = f"until {time_text(token.expires_ns)}" if token.expires_ns else "for ever"
    bound = f", for worker {token.worker_id} alone" if token.worker_id else ""
    err.print(f"token {token.id} ({printable(token.name)}): {_grants_text(token)}{bound}, good {until}", markup=False)
    err.print("it is shown this once; `joblog token revoke` takes it back", markup=False)
    typer.echo(made.secret)


@app.command(name="ls")
def list_tokens(
    *,
    every: Annotated[bool, typer.Option("--all", help="Also those revoked and expired.")] = False,
    as_json: AsJson = False,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """List tokens, newest first: those that you could have made."""
    import time

    with _stub(leader, data_dir) as stub:
        tokens = list(_pages(stub.ListTokens, access_pb2.ListTokensRequest(page_size=_PAGE), "tokens"))
    now = time.time_ns()
    shown = [token for token in tokens if every or _state(token, now) == "good"]
    if as_json:
        print_json([as_dict(token) for token in shown])
        return
    rows = table("ID", "NAME", "GRANTS", "WORKER", "MADE", "BY", "LAST USED", "USE", "STATE")
    for token in shown:
        until = f" until {time_text(token.expires_ns)}" if _state(token, now) == "good" and token.expires_ns else ""
        rows.add_row(
            token.id,
            escape(printable(token.name)),
            escape(printable(_grants_text(token))),
            escape(printable(token.worker_id)),
            time_text(token.created_ns),
            escape(printable(token.created_by)),
            time_text(token.last_used_ns) if token.last_used_ns else "never",
            _use_text(token),
            _state(token, now) + until,
        )
    print_table(rows)


@app.command()
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As `joblog token ls` lists it.")],
    *,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Revoke a token with the certificates and sessions that it brought forth: what is open ends within a second."""
    with _stub(leader, data_dir) as stub:
        token: access_pb2.Token = stub.RevokeToken(access_pb2.RevokeTokenRequest(id=token_id), timeout=_SECONDS)
    out.print(f"token {token.id} ({printable(token.name)}) is revoked", markup=False)


@app.command(name="recover-admin")
def recover_admin(*, data_dir: DataDir = None) -> None:
    """Make the leader's own admin token anew, on its machine as its user; the one before is revoked.

    Workers that joined with that one join again by themselves on the leader's machine, and elsewhere with a new token.
    Works whether the leader runs or not.
    """
    from joblog.leader.access.admin_token import remake_admin_token
    from joblog.leader.access.store import AccessStore

    folder = DataFolder(chosen_data_dir(data_dir))
    if not folder.access_store.is_file():
        raise NotFound(f"{folder.access_store} is not there: no leader has run in {folder.root} yet")
    store = AccessStore(folder.access_store)
    try:
        token = remake_admin_token(store, folder.admin_token)
    finally:
        store.close()
    out.print(f"made admin token {token.id} in {folder.admin_token}", markup=False)


@certificates_app.callback()
def certificates_root() -> None:
    """Certificates of workers."""


@certificates_app.command(name="ls")
def list_certificates(
    *,
    every: Annotated[bool, typer.Option("--all", help="Also those revoked and expired.")] = False,
    as_json: AsJson = False,
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """List the certificates of workers, newest first."""
    import time

    with _stub(leader, data_dir) as stub:
        request = access_pb2.ListCertificatesRequest(page_size=_PAGE)
        found = list(_pages(stub.ListCertificates, request, "certificates"))
    now = time.time_ns()
    shown = [one for one in found if every or _state(one, now) == "good"]
    if as_json:
        print_json([as_dict(one) for one in shown])
        return
    rows = table("SERIAL", "WORKER", "TOKEN", "ISSUED", "EXPIRES", "STATE")
    for one in shown:
        rows.add_row(
            one.serial,
            escape(printable(one.worker_id)),
            one.token_id,
            time_text(one.issued_ns),
            time_text(one.expires_ns),
            _state(one, now),
        )
    print_table(rows)


@certificates_app.command(name="revoke")
def revoke_certificates(
    serial: Annotated[str, typer.Argument(metavar="[SERIAL]", help="As `joblog certificates ls` lists it.")] = "",
    *,
    worker: Annotated[str, typer.Option("--worker", metavar="ID", help="All certificates of this worker.")] = "",
    leader: Leader = None,
    data_dir: DataDir = None,
) -> None:
    """Revoke one certificate, or all of a worker: its stream ends within a second.

    The worker can join again with a token that is good: revoke that too where the worker is not to be trusted.
    """
    if bool(serial) == bool(worker):
        raise InvalidInput("give either a serial number or --worker ID")
    request = access_pb2.RevokeCertificateRequest(serial=serial, worker_id=worker)
    with _stub(leader, data_dir) as stub:
        one: access_pb2.Certificate = stub.RevokeCertificate(request, timeout=_SECONDS)
    what = f"certificate {one.serial}" if serial else "every certificate"
    out.print(f"{what} of worker {printable(one.worker_id)} is revoked", markup=False)


def _pages(method: Any, request: Any, field: str) -> Iterator[Any]:
    while True:
        page = method(request, timeout=_SECONDS)
        yield from getattr(page, field)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return


def _state(one: access_pb2.Token | access_pb2.Certificate, now_ns: int) -> str:
    if one.revoked_ns:
        return "revoked"
    return "expired" if one.expires_ns and one.expires_ns <= now_ns else "good"


def _use_text(token: access_pb2.Token) -> str:
    """What its holders use, and of how much, where that is anything."""
    use, quota = token.use, token.quota

    def part(used: int, most: int, shown: Callable[[int], str], what: str) -> str:
        return f"{shown(used)}{f' of {shown(most)}' if most else ''} {what}" if used or most else ""

    rate = f"{quota.requests_per_second} requests/s" if quota.requests_per_second else ""
    parts = (
        part(use.bytes_today, quota.bytes_per_day, bytes_text, "today"),
        part(use.live_logs, quota.live_logs, str, "live"),
        part(use.stored_bytes, quota.stored_bytes, bytes_text, "stored"),
        rate,
    )
    return ", ".join(filter(None, parts))


def _grants_text(token: access_pb2.Token) -> str:
    return "; ".join(f"{grant.role} on {', '.join(grant.namespaces)}" for grant in token.grants)
