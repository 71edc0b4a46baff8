"""`joblog leader` and `joblog worker`: the daemons in the foreground."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from joblog.cli.options import DataDir

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Settings file (TOML).", exists=True, dir_okay=False),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A setting, over file and environment; repeatable."),
]
ParentPipe = Annotated[int | None, typer.Option("--parent-pipe", hidden=True)]


def leader(
    *,
    grpc_listen: Annotated[
        str | None, typer.Option("--grpc-listen", metavar="HOST:PORT", help="gRPC address; port 0 is any free one.")
    ] = None,
    http_listen: Annotated[
        str | None, typer.Option("--http-listen", metavar="HOST:PORT", help="HTTP address; empty is none.")
    ] = None,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
    parent_pipe: ParentPipe = None,
) -> None:
    """Run the leader: takes logs from workers, keeps them, and serves them."""
    from joblog.leader.daemon import main

    stop_with_parent(parent_pipe)
    flags = collect_flags(assignments, {"data_dir": data_dir, "grpc.listen": grpc_listen, "http.listen": http_listen})
    raise typer.Exit(main(flags, config))


def worker(
    *,
    leader_address: Annotated[
        str | None,
        typer.Option("--leader", metavar="HOST:PORT", help="Leader to ship to; without it the one in the data folder."),
    ] = None,
    config: Config = None,
    assignments: Set = None,
    data_dir: DataDir = None,
    parent_pipe: ParentPipe = None,
) -> None:
    """Run the worker: ships every spool on this machine to the leader, and takes tasks to run."""
    from joblog.worker.daemon import main

    stop_with_parent(parent_pipe)
    flags = collect_flags(assignments, {"data_dir": data_dir, "leader": leader_address})
    raise typer.Exit(main(flags, config))


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
