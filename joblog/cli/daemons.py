"""`joblog leader` and `joblog worker`: the daemons in the foreground."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from joblog.cli.options import DataDir

DEFAULT_PORT = 7080
MAX_PORT = 65535

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Settings file (TOML).", exists=True, dir_okay=False),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting, over file and environment; repeatable."),
]
Listen = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="HOST[:PORT]",
        help="Address for all servers: gRPC at PORT (7080), HTTP at the next one, workers at the one after; 0: any.",
    ),
]
Plaintext = Annotated[
    bool, typer.Option("--plaintext", help="No encryption: whoever is on the way sees logs and tokens.")
]
ParentPipe = Annotated[int | None, typer.Option("--parent-pipe", hidden=True)]


def leader(
    *,
    listen: Listen = None,
    grpc_listen: Annotated[
        str | None, typer.Option("--grpc-listen", metavar="HOST:PORT", help="gRPC address; port 0 is any free one.")
    ] = None,
    http_listen: Annotated[
        str | None, typer.Option("--http-listen", metavar="HOST:PORT", help="HTTP address; empty is none.")
    ] = None,
    workers_listen: Annotated[
        str | None,
        typer.Option("--workers-listen", metavar="HOST:PORT", help="Address for workers that have joined."),
    ] = None,
    plaintext: Plaintext = False,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
    parent_pipe: ParentPipe = None,
) -> None:
    """Run the leader: takes logs from workers, keeps them, and serves them."""
    from joblog.leader.daemon.main import main

    stop_with_parent(parent_pipe)
    named = {"data_dir": data_dir, "tls.mode": "off" if plaintext else None}
    named |= {"grpc.listen": grpc_listen, "http.listen": http_listen, "grpc.workers_listen": workers_listen}
    if listen is not None:
        named |= {key: value for key, value in listen_flags(listen).items() if named[key] is None}
    flags = collect_flags(assignments, named)
    raise typer.Exit(main(flags, config))


def worker(
    *,
    leader_address: Annotated[
        str | None,
        typer.Option(
            "--leader",
            metavar="HOST:PORT",
            help="Leader to ship to. Without it: the one in the token; in the data folder; that was joined before.",
        ),
    ] = None,
    join: Annotated[
        str | None,
        typer.Option(
            "--join",
            metavar="TOKEN",
            help="Join the leader that gave this token; `-` reads it from standard input. All on this machine see "
            "arguments: rather use --join-file or JOBLOG_JOIN_TOKEN.",
        ),
    ] = None,
    join_file: Annotated[
        Path | None, typer.Option("--join-file", metavar="FILE", help="The same, with the token in a file.")
    ] = None,
    plaintext: Plaintext = False,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
    parent_pipe: ParentPipe = None,
) -> None:
    """Run the worker: ships every spool on this machine to the leader, and takes tasks to run."""
    from joblog.worker.daemon import main

    stop_with_parent(parent_pipe)
    named = {"data_dir": data_dir, "leader": leader_address, "plaintext": "on" if plaintext else None}
    flags = collect_flags(assignments, named)
    raise typer.Exit(main(flags, config, join=_join_token(join, join_file)))


def watch(
    *,
    leader_address: Annotated[
        str | None,
        typer.Option(
            "--leader",
            metavar="HOST:PORT",
            help="Leader to ship to. Without it: the one in the token; in the data folder; that was joined before.",
        ),
    ] = None,
    join: Annotated[
        str | None, typer.Option("--join", metavar="TOKEN", help="As of `joblog worker`; `-` reads standard input.")
    ] = None,
    join_file: Annotated[
        Path | None, typer.Option("--join-file", metavar="FILE", help="The same, with the token in a file.")
    ] = None,
    plaintext: Plaintext = False,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
) -> None:
    """Run the cluster watcher: follows pods through the Kubernetes API, and ships their logs to the leader.

    For clusters where no agent can run on the nodes. Of several watchers one is active, by a lease; the others wait.
    It is a worker with settings of its own (`watch`, `kubernetes.api`, `kubernetes.identity`).
    """
    from joblog.worker.daemon import main

    named = {"data_dir": data_dir, "leader": leader_address, "plaintext": "on" if plaintext else None}
    flags = collect_flags(assignments, named)
    raise typer.Exit(main(flags, config, join=_join_token(join, join_file), watch=True))


def _join_token(text: str | None, file: Path | None) -> str:
    """The token to join with, empty where none is given. Raises InvalidInput."""
    from joblog.credentials import token_from_file
    from joblog.errors import InvalidInput
    from joblog.token import MAX_TOKEN_LENGTH, Token

    if text is not None and file is not None:
        raise InvalidInput("--join and --join-file are given together: a worker joins with one token")
    if file is not None:
        return token_from_file(file).text
    if text == "-":
        return Token.parse(sys.stdin.read(2 * MAX_TOKEN_LENGTH)).text
    return text or ""


def listen_flags(listen: str) -> dict[str, str]:
    """The addresses of all servers that follow from HOST or HOST:PORT. Raises InvalidInput."""
    from joblog.address import check_address
    from joblog.errors import InvalidInput

    host, colon, text = listen.rpartition(":")
    if not colon or listen.endswith("]") or (listen.count(":") > 1 and not listen.startswith("[")):
        host, text = (listen if listen.startswith("[") or ":" not in listen else f"[{listen}]"), str(DEFAULT_PORT)
    if text == "0":
        ports = [0, 0, 0]
    else:
        check_address(f"{host}:{text}")
        ports = [int(text), int(text) + 1, int(text) + 2]
        if ports[-1] > MAX_PORT:
            raise InvalidInput(f"--listen {listen[:100]}: needs three ports, and the last would be {ports[-1]}")
    keys = ("grpc.listen", "http.listen", "grpc.workers_listen")
    return {key: f"{host}:{port}" for key, port in zip(keys, ports, strict=True)}


def collect_flags(assignments: list[str] | None, named: dict[str, str | Path | None]) -> dict[str, str]:
    """Settings from the command line by their dotted names: --set first, then those with an option of their own."""
    from joblog.settings import split_assignments

    flags = split_assignments(assignments or ())
    flags.update({key: str(value) for key, value in named.items() if value is not None})
    return flags


def stop_with_parent(pipe_fd: int | None) -> None:
    """Makes this process get SIGTERM once the other end of a pipe is closed, which the parent holds open."""
    if pipe_fd is None:
        return
    os.set_inheritable(pipe_fd, False)

    def wait() -> None:
        while os.read(pipe_fd, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()
