"""Options and arguments that several commands have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from joblog import paths
from joblog.client import Client
from joblog.errors import InvalidInput
from joblog.identity import DEFAULT_NAMESPACE, LogName, check_name, parse_log_path

Namespace = Annotated[str, typer.Option("--namespace", "-n", metavar="NAME", help="Namespace of the run.")]
Leader = Annotated[
    str | None,
    typer.Option(
        "--leader",
        metavar="HOST:PORT",
        help="Leader to talk to. Without it: the one in --data-dir; JOBLOG_LEADER; the one in the data folder.",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        metavar="DIR",
        help="Folder with all of joblog's state. Without it: JOBLOG_DATA_DIR, else the user's data folder.",
        file_okay=False,
    ),
]
Raw = Annotated[bool, typer.Option("--raw", help="The bytes as they are, also on a terminal, which obeys them.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
LogPath = Annotated[str, typer.Argument(metavar="RUN/TASK[/ATTEMPT]", help="A log; without ATTEMPT, the newest.")]

DEFAULT = DEFAULT_NAMESPACE


def open_client(leader: str | None, data_dir: Path | None) -> Client:
    """A client for the leader that the options name."""
    return Client(leader, data_dir=data_dir)


def chosen_data_dir(data_dir: Path | None) -> Path:
    """The data folder that the option, the environment or the user's settings name, as an absolute path."""
    return paths.data_dir(data_dir, os.environ)


def parse_target(path: str, namespace: str) -> LogName:
    """RUN, RUN/TASK or RUN/TASK/ATTEMPT; the task is empty where a whole run is named. Raises InvalidInput."""
    check_name("namespace", namespace)
    if "/" in path:
        return parse_log_path(path, namespace)
    if not path:
        raise InvalidInput("no run is named: write RUN, RUN/TASK or RUN/TASK/ATTEMPT")
    return LogName(namespace, check_name("run", path), "", 0)
