"""What `joblog run` and `joblog pipe` are asked for on the command line, together with the worker's settings."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

from joblog import paths
from joblog.address import read_leader_file
from joblog.errors import InvalidInput, NotFound
from joblog.identity import DEFAULT_NAMESPACE, MAX_ATTEMPT, check_attempt, name_from_command, new_run_id
from joblog.settings import load
from joblog.worker.order import COMMAND, STDIN, Order, Place, check_order, place_from_settings
from joblog.worker.settings import WorkerSettings
from joblog.worker.source import join_source, known_address


class Request(NamedTuple):
    """What was asked for. named: the run was; otherwise its id was made here. detach: the daemon shall run the task."""

    order: Order
    place: Place
    named: bool
    detach: bool
    warnings: list[str]


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidInput(f"{message}; see `{self.prog} --help`")


def parse_run(arguments: list[str]) -> Request:
    """`joblog run`'s arguments; raises InvalidInput, and SystemExit after --help."""
    parser = _parser("run", "Run a command and collect its output. Its exit code becomes this program's.")
    parser.usage = "joblog run [options] -- COMMAND [ARGUMENT ...]"
    parser.add_argument("--cwd", metavar="DIR", default=".", help="folder to run it in (default: this one)")
    parser.add_argument("--pty", action="store_true", help="give it a terminal of its own; stderr goes to stdout")
    parser.add_argument("--timeout", type=_seconds, metavar="SECONDS", default=0.0, help="end it after so long")
    parser.add_argument("--detach", action="store_true", help="let the worker daemon run it, and return at once")
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options, command = arguments, None
    if "--" in arguments:
        at = arguments.index("--")
        options, command = arguments[:at], arguments[at + 1 :]
    given = parser.parse_args(options)
    if command is not None and given.command:
        raise InvalidInput(f"{given.command[0]!r:.60} is not an option: the command comes after `--`")
    return _request(given, COMMAND, given.command if command is None else command, os.path.abspath(given.cwd))


def parse_pipe(arguments: list[str]) -> Request:
    """`joblog pipe`'s arguments; raises InvalidInput, and SystemExit after --help."""
    parser = _parser("pipe", "Collect standard input as a task's output, and pass it on to standard output.")
    given = parser.parse_args(arguments)
    given.detach, given.pty, given.timeout = False, False, 0.0
    given.task = given.task or "pipe"
    return _request(given, STDIN, [], os.getcwd())


def _parser(command: str, description: str) -> argparse.ArgumentParser:
    parser = _Parser(prog=f"joblog {command}", description=description, allow_abbrev=False)
    add: Callable[..., object] = parser.add_argument
    add("--namespace", "-n", metavar="NAME", default=DEFAULT_NAMESPACE, help="namespace of the run (default: default)")
    add("--run", metavar="NAME", help="run that the task belongs to (default: a new id)")
    add("--task", metavar="NAME", help="the task's name (default: the command's)")
    add("--attempt", type=int, metavar="N", help=f"1 to {MAX_ATTEMPT} (default: the next free one)")
    add("--label", action="append", default=[], metavar="KEY=VALUE", help="label of the task; can be repeated")
    add("--quiet", "-q", action="store_true", help="do not show the output here as well")
    add("--mask-env", action="append", default=[], metavar="NAME", help="replace this variable's value by ***")
    add("--mask-file", action="append", default=[], type=Path, metavar="FILE", help="replace each line's value by ***")
    add("--mask-arguments", action="store_true", help="record the program's name only, not its arguments")
    add("--cri-dir", metavar="DIR", help="write the output there too, as container log files for another collector")
    add("--drain", type=_seconds, metavar="SECONDS", help="wait so long for delivery after the end (default: 10)")
    add("--data-dir", type=Path, metavar="DIR", help="folder of joblog's state on this machine")
    add("--leader", metavar="HOST:PORT", help="where the leader is (default: on this machine)")
    add("--config", type=Path, metavar="FILE", help="the worker's settings file")
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a number of seconds from 0")
    return value


def _request(given: argparse.Namespace, kind: str, command: list[str], cwd: str) -> Request:
    if given.attempt is not None:
        check_attempt(given.attempt)
    settings = _load_settings(given)
    masks, warnings = _masks(given, settings)
    order = Order(
        namespace=given.namespace,
        run=new_run_id() if given.run is None else given.run,
        task=given.task if given.task is not None else name_from_command(command[0] if command else ""),
        attempt=given.attempt or 0,
        kind=kind,
        command=command,
        cwd=cwd,
        environment=dict(os.environ) if given.detach else None,
        labels=_labels(given.label),
        pty=given.pty,
        timeout_seconds=given.timeout,
        quiet=given.quiet,
        masks=[os.fsdecode(value) for value in masks],
        mask_arguments=given.mask_arguments or settings.mask.arguments,
        cri_dir=os.path.abspath(given.cri_dir) if given.cri_dir else "",
    )
    return Request(check_order(order), _place(given, settings), given.run is not None, given.detach, warnings)


def _load_settings(given: argparse.Namespace) -> WorkerSettings:
    flags = {
        "data_dir": None if given.data_dir is None else str(given.data_dir),
        "leader": given.leader,
        "drain_seconds": None if given.drain is None else str(given.drain),
    }
    file = paths.config_file("worker", given.config, os.environ)
    return load(WorkerSettings, file=file, environ=os.environ, flags=flags).values


def _labels(texts: list[str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise InvalidInput(f"label {text[:60]!r} has no value: write KEY=VALUE")
        if key in labels:
            raise InvalidInput(f"label {key[:60]!r} is given twice")
        labels[key] = value
    return labels


def _masks(given: argparse.Namespace, settings: WorkerSettings) -> tuple[list[bytes], list[str]]:
    """Values to mask. Variables that the settings name are for all tasks, and need not be set in each."""
    if not (given.mask_env or given.mask_file or settings.mask.env or settings.mask.files):
        return [], []
    from joblog.worker.redaction import check_value, mask_values

    files = [*given.mask_file, *map(Path, settings.mask.files)]
    values, warnings = mask_values(given.mask_env, files, os.environb)
    for name in settings.mask.env:
        if value := os.environb.get(os.fsencode(name)):
            values.append(check_value(value, f"mask.env: {name}"))
    return values, warnings


def _place(given: argparse.Namespace, settings: WorkerSettings) -> Place:
    data_dir = paths.data_dir(settings.data_dir, os.environ)
    source = join_source(settings.leader, os.environ)
    leader = known_address(paths.DataFolder(data_dir), source)
    # A folder that is named here counts for more than an address that is named elsewhere.
    if given.data_dir is not None and given.leader is None:
        with contextlib.suppress(NotFound):
            leader = read_leader_file(data_dir).grpc_address
    return place_from_settings(settings, paths.make_folder(data_dir), leader)
