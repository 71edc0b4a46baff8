"""`joblog ui`: a link that opens the admin UI, signed in."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from joblog.cli.options import DataDir, Leader, open_client
from joblog.client import Client
from joblog.errors import NotFound


def ui(
    *,
    leader: Leader = None,
    data_dir: DataDir = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the link in this machine's browser too.")] = False,
) -> None:
    """Print a link to the admin UI that signs a browser in: once, within two minutes.

    The browser may do then what this client's token may do, until it signs out, its session is over, or the token is
    revoked.
    """
    with open_client(leader, data_dir) as client:
        link = sign_in_link(client)
    if not link:
        raise NotFound("the leader serves no HTTP: http.listen is empty in its settings")
    typer.echo(link)
    if open_it:
        webbrowser.open(link)


def sign_in_link(client: Client) -> str:
    """The link; empty where the leader serves no HTTP. Raises JoblogError."""
    made = client.create_sign_in_code()
    if not made.url or not made.code:
        return made.url
    # What follows # is sent to no server, and so is in no log of a proxy.
    return f"{made.url}login#code={made.code}"
