"""`joblog doctor`: looks for what may be wrong on this machine, and says what to do."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import typer
from rich.markup import escape

import joblog
from joblog import paths
from joblog.cli.options import AsJson, DataDir, Leader, chosen_data_dir
from joblog.cli.output import out, print_json
from joblog.cli.status import leader_status, worker_status
from joblog.cli.words import bytes_text, printable

PROBLEMS_EXIT_CODE = 1
LOW_DISK_BYTES = 1 << 30
LOW_DISK_SHARE = 0.05
_STYLES = {"ok": "green", "warning": "yellow", "problem": "red"}
# Earlier than any joblog: a clock that was never set.
_CLOCK_FLOOR_SECONDS = 1_735_689_600


class Finding(NamedTuple):
    """What a check found. level: ok, warning or problem; only a problem makes the command fail."""

    check: str
    level: str
    message: str


def doctor(as_json: AsJson = False, leader: Leader = None, data_dir: DataDir = None) -> None:
    """Check this machine: folders and keys, disk space, clock, leader, worker, spools, versions.

    Exit code 0: nothing that stops logs from arriving. 1: a problem.
    """
    folder = paths.DataFolder(chosen_data_dir(data_dir))
    findings = list(_all_findings(folder, leader, data_dir))
    if as_json:
        print_json([finding._asdict() for finding in findings])
    else:
        for finding in findings:
            style = _STYLES[finding.level]
            message = escape(printable(finding.message))
            out.print(f"[{style}]{finding.level:<8}[/{style}] [bold]{finding.check:<9}[/bold] {message}")
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(PROBLEMS_EXIT_CODE)


def _all_findings(folder: paths.DataFolder, leader: str | None, data_dir: Path | None) -> Iterator[Finding]:
    yield _versions()
    yield _folder(folder)
    yield from _modes(folder)
    yield from _key(folder)
    yield _disk(folder.root)
    yield _clock()
    about_leader = leader_status(leader, data_dir)
    yield from _leader(about_leader)
    about_worker = worker_status(folder)
    yield _worker(about_worker)
    yield _spools(folder, about_worker["running"])
    yield from _refused(folder)


def _versions() -> Finding:
    import grpc

    names = f"joblog {joblog.__version__}, Python {platform.python_version()}, grpcio {grpc.__version__}"
    return Finding("versions", "ok", f"{names}, {platform.system()} {platform.release()}, {sys.executable}")


def _folder(folder: paths.DataFolder) -> Finding:
    root = folder.root
    if not root.exists():
        return Finding("folder", "ok", f"{root} does not exist yet: it is made at the first start")
    if not root.is_dir():
        return Finding("folder", "problem", f"{root} is not a folder: move it away, or name another with --data-dir")
    if not os.access(root, os.R_OK | os.W_OK | os.X_OK):
        return Finding(
            "folder", "problem", f"{root} can't be written by user {os.getuid()}: chown it, or change the user"
        )
    length = len(os.fsencode(folder.worker_socket))
    if length > paths.MAX_SOCKET_PATH_BYTES:
        return Finding("folder", "problem", f"{root} is too long for the unix socket in it: choose a shorter path")
    return Finding("folder", "ok", f"{root}")


def _modes(folder: paths.DataFolder) -> Iterator[Finding]:
    for path in (folder.root, folder.leader, folder.store, folder.worker, folder.spools):
        try:
            found = path.stat()
        except OSError:
            continue
        if found.st_mode & 0o077:
            mode = stat.S_IMODE(found.st_mode)
            yield Finding("modes", "warning", f"{path} has mode {mode:04o}, others may look into it: chmod 700 {path}")
        if found.st_uid != os.getuid():
            yield Finding("modes", "warning", f"{path} belongs to user {found.st_uid}, this is user {os.getuid()}")


def _key(folder: paths.DataFolder) -> Iterator[Finding]:
    path = folder.kek_file
    if not path.exists():
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        yield Finding("key", "problem", f"{path} has mode {mode:04o}: the leader refuses it; chmod 600 {path}")
    elif path.stat().st_dev == folder.leader.stat().st_dev:
        yield Finding(
            "key",
            "warning",
            f"{path} lies on the same disk as the logs that it protects: move it elsewhere (keys.file), and keep a "
            "copy, since without it no log can be read",
        )
    else:
        yield Finding("key", "ok", f"{path}")


def _disk(root: Path) -> Finding:
    there = next(path for path in (root, *root.parents) if path.exists())
    usage = shutil.disk_usage(there)
    text = f"{bytes_text(usage.free)} of {bytes_text(usage.total)} free below {there}"
    if usage.free < LOW_DISK_BYTES // 16:
        return Finding("disk", "problem", f"{text}: logs can't be stored; free some space")
    if usage.free < LOW_DISK_BYTES or usage.free < LOW_DISK_SHARE * usage.total:
        return Finding("disk", "warning", f"{text}: soon full")
    return Finding("disk", "ok", text)


def _clock() -> Finding:
    now = time.time()
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < _CLOCK_FLOOR_SECONDS:
        return Finding("clock", "problem", f"{text}: this machine's clock is not set; run an NTP client")
    return Finding("clock", "ok", text)


def _leader(about: dict[str, Any]) -> Iterator[Finding]:
    if not about["running"]:
        yield Finding("leader", "problem", about["error"])
        return
    yield Finding("leader", "ok", f"{about['grpc_address']}, version {about['version']}")
    if about["version"] != joblog.__version__:
        yield Finding(
            "leader", "warning", f"has version {about['version']}, this is {joblog.__version__}: use one for both"
        )
    for warning in about["warnings"]:
        yield Finding("leader", "warning", warning)


def _worker(about: dict[str, Any]) -> Finding:
    if not about["running"]:
        return Finding("worker", "warning", f"{about['error']}; without one each `joblog run` ships its own output")
    return Finding("worker", "ok", f"process {about['pid']}, version {about['version']}, {about['tasks']} tasks")


def _refused(folder: paths.DataFolder) -> Iterator[Finding]:
    try:
        count = len(os.listdir(folder.refused))
    except OSError:
        return
    if count:
        yield Finding(
            "refused",
            "warning",
            f"{count} spools in {folder.refused} that the leader refuses for good, each with its reason in the file "
            "`refusal`: delete them, or move them back to spool/ once the reason is gone",
        )


def _spools(folder: paths.DataFolder, worker_runs: bool) -> Finding:
    count = size = 0
    for path in folder.spools.glob("*/*") if folder.spools.is_dir() else ():
        if path.name == "task.json":
            count += 1
        elif path.suffix == ".seg":
            try:
                size += path.stat().st_size
            except FileNotFoundError:
                continue
    text = f"{count} spools with {bytes_text(size)} on this machine"
    if count and not worker_runs:
        return Finding("spools", "warning", f"{text}, and no worker that ships them: start one with `joblog worker`")
    return Finding("spools", "ok", text)
