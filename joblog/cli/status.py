"""`joblog status`: who runs on this machine, and where."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape

import joblog
from joblog import paths
from joblog.address import find_leader, read_leader_file
from joblog.cli.options import AsJson, DataDir, Leader, chosen_data_dir
from joblog.cli.output import out, print_json, styled
from joblog.cli.words import as_dict, bytes_text, duration_text, printable, time_text
from joblog.client import Client
from joblog.errors import JoblogError, NotFound

_TIMEOUT_SECONDS = 5.0


def status(as_json: AsJson = False, leader: Leader = None, data_dir: DataDir = None) -> None:
    """Print whether a leader and a worker run here, where they listen, and how they do.

    Exit code 0: the leader answers. 3: none runs here. 9: one should, and does not answer.
    """
    root = chosen_data_dir(data_dir)
    found = collect(leader, data_dir, root)
    if as_json:
        print_json(found)
    else:
        _print(found)
    if not found["leader"]["running"]:
        raise typer.Exit(found["leader"]["exit_code"])


def collect(leader: str | None, data_dir: Path | None, root: Path) -> dict[str, Any]:
    """All that is known: the addresses, what the leader says about itself, what the worker says."""
    about_leader = leader_status(leader, data_dir)
    return {
        "data_dir": str(root),
        "version": joblog.__version__,
        "grpc_address": about_leader.get("grpc_address"),
        "http_url": about_leader.get("http_url"),
        "leader": about_leader,
        "worker": worker_status(paths.DataFolder(root)),
    }


def leader_status(leader: str | None, data_dir: Path | None) -> dict[str, Any]:
    """What the leader says, or why it does not."""
    about: dict[str, Any] = {"running": False, "pid": None, "grpc_address": None, "http_url": None}
    try:
        known = find_leader(leader, data_dir)
        about["grpc_address"] = known.address
        about.update(_from_file(known.address, chosen_data_dir(data_dir)))
        with Client(leader=known, timeout_seconds=_TIMEOUT_SECONDS) as client:
            said = as_dict(client.status())
    except JoblogError as error:
        about.update(error=str(error), exit_code=error.exit_code)
        return about
    about.update(said, running=True, http_url=said["http_url"] or about["http_url"] or None)
    return about


def _from_file(address: str, root: Path) -> dict[str, Any]:
    """The process id, where the leader at `address` is the one of this data folder."""
    try:
        found = read_leader_file(root)
    except JoblogError:
        return {}
    return {"pid": found.pid, "http_url": found.http_url or None} if found.grpc_address == address else {}


def worker_status(folder: paths.DataFolder) -> dict[str, Any]:
    """What the worker daemon of a data folder says, or why it does not."""
    from joblog.worker.control.client import ControlClient

    about: dict[str, Any] = {"running": False, "pid": None, "tasks": None}
    if not folder.worker_socket.exists():
        about["error"] = str(NotFound(f"no worker runs in {folder.root}: start one with `joblog worker`"))
        return about
    client = ControlClient(str(folder.worker_socket), _TIMEOUT_SECONDS)
    try:
        about.update(client.ping())
        about["tasks"] = len(client.list())
    except JoblogError as error:
        about["error"] = str(error)
        return about
    return {**about, "running": True}


def _print(found: dict[str, Any]) -> None:
    leader, worker = found["leader"], found["worker"]
    out.print(f"[bold]data folder[/bold]  {escape(found['data_dir'])}")
    if leader["running"]:
        process = f"process {leader['pid']}, " if leader["pid"] else ""
        since = duration_text(max(0.0, time.time() - leader["started_ns"] / 1e9))
        out.print(f"[bold]leader[/bold]       running, {process}version {escape(leader['version'])}, for {since}")
        out.print(f"  grpc       {escape(leader['grpc_address'])}")
        out.print(f"  http       {escape(leader['http_url'] or 'turned off')}")
        out.print(f"  live logs  {leader['logs_live']:,}")
        out.print(f"  buffer     {bytes_text(leader['buffer_bytes'])}")
    else:
        out.print(f"[bold]leader[/bold]       {styled('interrupted').replace('interrupted', 'not running')}")
        out.print(f"  {printable(leader['error'])}", markup=False)
    if worker["running"]:
        out.print(
            f"[bold]worker[/bold]       running, process {worker['pid']}, version {escape(str(worker['version']))}"
        )
        out.print(f"  tasks      {worker['tasks']}")
    else:
        out.print("[bold]worker[/bold]       [yellow]not running[/yellow]")
        out.print(f"  {printable(worker['error'])}", markup=False)
    for other in leader.get("workers") or []:
        _print_worker(other)
    for warning in leader.get("warnings") or []:
        out.print(f"[yellow]warning[/yellow]      {escape(printable(warning))}")


def _print_worker(worker: dict[str, Any]) -> None:
    """One worker as the leader sees it."""
    state = "connected" if worker["connected"] else f"not connected, last seen {time_text(worker['last_seen_ns'])}"
    spool = f"spool {bytes_text(worker['spool_bytes'])} of {bytes_text(worker['spool_limit_bytes'])}"
    line = f"{worker['worker_id']} on {worker['host']}: {state}, {worker['logs']} logs, {spool}"
    out.print(f"[bold]ships[/bold]        {escape(printable(line))}")
