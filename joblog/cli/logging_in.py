"""`joblog login`, `joblog logout`, `joblog whoami`: the token that this user's clients show to a leader."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from joblog.address import LEADER_VARIABLE, KnownLeader, check_address, is_plaintext
from joblog.cli.options import AsJson, DataDir, Leader, open_client
from joblog.cli.output import out, print_json
from joblog.cli.words import as_dict, printable, time_text
from joblog.client import Client
from joblog.credentials import Login, Logins, token_from_file
from joblog.errors import InvalidInput, NotFound
from joblog.handshake import resolved
from joblog.token import MAX_TOKEN_LENGTH, Token
from joblog.trust import Trust
from joblog.v1 import access_pb2


def login(
    *,
    leader: Annotated[
        str | None,
        typer.Option("--leader", metavar="HOST:PORT", help="Leader to log in at. Without it: the one in the token."),
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="Read the token from a file; `-` is stdin.")
    ] = None,
) -> None:
    """Keep a token for this user's clients: it is asked for, or read from standard input, and tried at the leader.

    It is kept in ~/.config/joblog/credentials.json, mode 0600, for that leader alone.
    """
    token = _read_token(token_file)
    address = leader or token.address or os.environ.get(LEADER_VARIABLE, "")
    if not address:
        raise InvalidInput("the token does not say where its leader is: name it with --leader HOST:PORT")
    plaintext = is_plaintext(os.environ)
    trust = Trust(plaintext, fingerprint=token.fingerprint, token=token.text)
    known = KnownLeader(check_address(address), resolved(address, trust))
    with Client(leader=known) as client:
        me = client.who_am_i()
    logins = Logins.of_user(os.environ)
    logins.put(address, Login(token.text, known.trust.ca.decode()))
    typer.echo(f"logged in at {address} as {printable(me.name)}")


def _read_token(file: Path | None) -> Token:
    if file is not None and str(file) != "-":
        return token_from_file(file)
    if file is None and sys.stdin.isatty():
        return Token.parse(getpass.getpass("Token: "))
    return Token.parse(sys.stdin.read(2 * MAX_TOKEN_LENGTH))


def logout(
    leader: Annotated[
        str | None,
        typer.Option("--leader", metavar="HOST:PORT", help="Leader to log out at. Without it: that of the last login."),
    ] = None,
) -> None:
    """Forget a leader's token here. It stays good until it expires or is revoked."""
    logins = Logins.of_user(os.environ)
    address = leader or logins.current
    if not address or not logins.remove(address):
        raise NotFound(f"no token is kept for {address or 'any leader'}: {logins.path} holds none")
    typer.echo(f"logged out at {address}")


def whoami(as_json: AsJson = False, leader: Leader = None, data_dir: DataDir = None) -> None:
    """Print who the leader takes this client for, and what it may do."""
    with open_client(leader, data_dir) as client:
        me = client.who_am_i()
        address = client.address
    if as_json:
        print_json({"leader": address, **as_dict(me)})
        return
    _print(address, me)


def _print(address: str, me: access_pb2.WhoAmIResponse) -> None:
    out.print(f"[bold]{escape(printable(me.name))}[/bold], {escape(printable(me.kind))}, at {escape(address)}")
    for grant in me.grants:
        where = ", ".join(grant.namespaces) or "*"
        out.print(f"  {grant.role} on {where}", markup=False)
    if me.expires_ns:
        out.print(f"  until {time_text(me.expires_ns)}", markup=False)
