"""An order: one task to be run and captured, as the command line or a client of the daemon hands it over, and checked.

A place says where and within which bounds; it comes from the settings of whoever carries the order out.
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from joblog.errors import InvalidInput, WrongVersion
from joblog.identity import LogName, check_labels, check_name, check_writable_name
from joblog.worker.capture.cri_place import CriPlace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from joblog.worker.settings import WorkerSettings
    from joblog.worker.spool.sealing import SpoolKey

COMMAND = "command"
STDIN = "stdin"
# Holds the token with which this machine joins a leader.
JOIN_VARIABLE = "JOBLOG_JOIN_TOKEN"
HANDOVER_VERSION = 3
MAX_TIMEOUT_SECONDS = 10 * 365 * 86_400.0


class Order(NamedTuple):
    """attempt: 0 for the next free one. environment: None for that of the process that runs the task.

    masks: secret values. mask_arguments: all but the program's name are secret. kind: COMMAND, or STDIN for what comes
    on standard input. timeout_seconds: 0 for none. cri_dir: where its CRI files go, absolute; empty: where the place
    has them, if it does. Text is as os.fsdecode gives it.
    """

    namespace: str
    run: str
    task: str
    attempt: int
    kind: str
    command: list[str]
    cwd: str
    environment: dict[str, str] | None = None
    labels: dict[str, str] = {}  # noqa: RUF012 - a default that is never changed
    pty: bool = False
    timeout_seconds: float = 0.0
    quiet: bool = False
    masks: list[str] = []  # noqa: RUF012
    mask_arguments: bool = False
    cri_dir: str = ""


class Place(NamedTuple):
    """data_dir: absolute. leader: address, empty where none is known. drain_seconds: for delivery after the task's end.

    pipe_bytes, exit_wait_seconds and grace_seconds are those of the settings' section "capture"; the rest of "spool".
    sealed: spools are sealed with spool_key, 64 hexadecimal digits, which goes from process to process in memory only.
    cri: files for other collectors.
    """

    data_dir: str
    leader: str
    drain_seconds: float
    worker_bytes: int
    task_bytes: int
    segment_bytes: int
    policy: str
    exit_wait_seconds: float
    grace_seconds: float
    pipe_bytes: int
    sealed: bool = False
    spool_key: str = ""
    cri: CriPlace = CriPlace()

    @property
    def worker_folder(self) -> str:
        """Folder of all that a worker keeps."""
        return os.path.join(self.data_dir, "worker")

    def key(self) -> SpoolKey | None:
        """What seals new spools; None when they lie in clear."""
        if not self.sealed:
            return None
        from joblog.worker.spool.sealing import SpoolKey

        return SpoolKey(bytes.fromhex(self.spool_key))

    @property
    def spool_root(self) -> str:
        """Folder with one folder per spool."""
        return os.path.join(self.worker_folder, "spool")


def place_from_settings(settings: WorkerSettings, data_dir: str | os.PathLike[str], leader: str) -> Place:
    """Where and within which bounds tasks run, as the settings say."""
    return Place(
        data_dir=os.fspath(data_dir),
        leader=leader,
        drain_seconds=settings.drain_seconds,
        worker_bytes=settings.spool.max_bytes,
        task_bytes=settings.spool.max_task_bytes,
        segment_bytes=settings.spool.segment_bytes,
        policy=settings.spool.policy,
        exit_wait_seconds=settings.capture.exit_wait_seconds,
        grace_seconds=settings.capture.grace_seconds,
        pipe_bytes=settings.capture.pipe_bytes,
        sealed=settings.spool.encryption == "on",
        cri=CriPlace(
            "" if settings.cri.dir is None else os.path.abspath(settings.cri.dir),
            settings.cri.max_file_bytes,
            settings.cri.max_files,
            int(settings.cri.mode, 8),
            settings.cri.keep_seconds,
        ),
    )


def check_order(order: Order) -> Order:
    """Returns `order` when it can be carried out as far as names and numbers tell; raises InvalidInput."""
    check_writable_name(LogName(order.namespace, order.run, order.task, order.attempt))
    check_name("task", order.task)
    check_labels(order.labels)
    if order.kind == COMMAND and not (order.command and order.command[0]):
        raise InvalidInput("no command given: write it after `--`, as in `joblog run -- make -j2`")
    if any("\0" in part for part in [*order.command, order.cwd, order.cri_dir]):
        raise InvalidInput("the command or its folder holds a NUL character: no program can be given one")
    if order.cri_dir and not os.path.isabs(order.cri_dir):
        raise InvalidInput(f"folder {order.cri_dir[:200]!r} for CRI files is not an absolute path")
    if not os.path.isdir(order.cwd):
        raise InvalidInput(f"folder {order.cwd[:200]!r} does not exist or is not a folder: the task can't be run in it")
    if not 0 <= order.timeout_seconds <= MAX_TIMEOUT_SECONDS:
        raise InvalidInput(
            f"time limit of {order.timeout_seconds:g} seconds: must lie between 0 (none) and {MAX_TIMEOUT_SECONDS:g}"
        )
    return order


def order_from_fields(fields: dict[str, Any]) -> Order:
    """An order that came as JSON, checked. Raises InvalidInput."""
    unknown = set(fields) - set(Order._fields)
    if unknown:
        raise InvalidInput(f"order: {min(unknown)!r:.60} is not a field of it")
    for name, rule in _RULES.items():
        if name not in fields and name not in Order._field_defaults:
            raise InvalidInput(f"order: {name} is missing")
        if name in fields and not rule(fields[name]):
            raise InvalidInput(f"order: {name} = {fields[name]!r:.60} is of the wrong kind")
    return check_order(Order(**fields))


def pack(order: Order, place: Place, daemon: int) -> bytes:
    """An order for the process that carries it out, as JSON.

    daemon: a descriptor in that process that is connected to the daemon's control socket, or -1.
    """
    fields = {"order": order._asdict(), "place": place._asdict(), "daemon": daemon}
    return json.dumps({"version": HANDOVER_VERSION, **fields}).encode()


def unpack(content: bytes) -> tuple[Order, Place, int]:
    """The reverse of pack; raises WrongVersion when joblog was replaced by another version in between."""
    fields: dict[str, Any] = json.loads(content)
    if fields["version"] != HANDOVER_VERSION:
        raise WrongVersion(
            f"an order of version {fields['version']} came, this joblog knows {HANDOVER_VERSION}: start it again"
        )
    place = Place(**{**fields["place"], "cri": CriPlace(*fields["place"]["cri"])})
    return Order(**fields["order"]), place, fields["daemon"]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, [*value, *value.values()]))


_RULES = {
    "namespace": _is_text,
    "run": _is_text,
    "task": _is_text,
    "attempt": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "kind": lambda value: value in (COMMAND, STDIN),
    "command": _is_texts,
    "cwd": _is_text,
    "environment": lambda value: value is None or _is_mapping(value),
    "labels": _is_mapping,
    "pty": _is_bool,
    "timeout_seconds": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "quiet": _is_bool,
    "masks": _is_texts,
    "mask_arguments": _is_bool,
    "cri_dir": _is_text,
}
