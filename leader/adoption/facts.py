"""What the metadata beside an older system's log says: how the task ended, when, and what else is known of it.

It is hostile until checked: bounded in size, depth and number of fields; what does not fit becomes a label or is left.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, NoReturn

from joblog.errors import Corrupt, InvalidInput
from joblog.identity import MAX_LABELS, check_name
from joblog.leader.adoption.rule import to_label, to_name
from joblog.v1 import types_pb2
from joblog.v1.types_pb2 import Outcome

MAX_METADATA_BYTES = 1 << 20
_MAX_DEPTH = 8
_MAX_FIELDS = 1000
_MAX_TEXT = 4096
_MAX_COMMAND = 256
MAX_REST_BYTES = 64 << 10
_MAX_NS = 2**63 - 1

# By what they mean: paths of fields, written without _ and - and in small letters; the first that is there counts.
DEFAULT_FIELDS: dict[str, tuple[str, ...]] = {
    "exit_code": ("exitcode", "returncode", "rc", "status.exitcode", "result.exitcode"),
    "signal": ("signal",),
    "status": ("status", "state", "outcome", "result", "conclusion", "phase", "status.phase", "status.state"),
    "started": ("starttime", "startedat", "started", "start", "status.starttime", "createdat", "created"),
    "ended": (
        "endtime",
        "endedat",
        "ended",
        "end",
        "finishedat",
        "finishtime",
        "finished",
        "completedat",
        "completiontime",
        "completed",
        "stoppedat",
        "stoptime",
        "status.completiontime",
    ),
    "host": ("host", "hostname", "node", "nodename"),
    "message": ("message", "reason", "error"),
    "command": ("command", "cmd"),
    "labels": ("labels",),
}
RUNNING = "running"
_UNKNOWN = "unknown"
# What words in `status` mean.
DEFAULT_STATUSES: dict[str, str] = {
    **dict.fromkeys(("succeeded", "success", "successful", "ok", "passed", "complete", "completed"), "succeeded"),
    **dict.fromkeys(("failed", "failure", "error", "errored"), "failed"),
    **dict.fromkeys(("timedout", "timeout", "deadlineexceeded"), "timed_out"),
    **dict.fromkeys(("evicted", "preempted"), "evicted"),
    **dict.fromkeys(("nodelost",), "node_lost"),
    **dict.fromkeys(("cancelled", "canceled", "aborted", "killed", "stopped", "skipped"), _UNKNOWN),
    **dict.fromkeys((RUNNING, "pending", "queued", "active", "started", "inprogress"), RUNNING),
}
_KINDS = {
    "succeeded": types_pb2.OUTCOME_KIND_EXITED,
    "failed": types_pb2.OUTCOME_KIND_UNSPECIFIED,
    "timed_out": types_pb2.OUTCOME_KIND_TIMED_OUT,
    "evicted": types_pb2.OUTCOME_KIND_EVICTED,
    "node_lost": types_pb2.OUTCOME_KIND_NODE_LOST,
    _UNKNOWN: types_pb2.OUTCOME_KIND_UNSPECIFIED,
}
MEANINGS = frozenset({*_KINDS, RUNNING})
_Scalar = str | int | float | bool


class NotOver(Exception):
    """The metadata says that the task still runs."""


class Facts(NamedTuple):
    """What is known. times: 0 where they are not. rest: JSON of what became neither a fact nor a label, "" for none."""

    outcome: Outcome
    started_ns: int = 0
    ended_ns: int = 0
    host: str = ""
    command: Sequence[str] = ()
    labels: Mapping[str, str] = {}
    rest: str = ""


def plain(path: str) -> str:
    """A field's path as paths are compared: small letters, no _ and -."""
    return path.replace("_", "").replace("-", "").lower()


class FactRules:
    """Which fields mean what. fields, statuses: beside the defaults, and before them. otherwise: "" or "succeeded"."""

    def __init__(self, fields: Mapping[str, str], statuses: Mapping[str, str], otherwise: str = "") -> None:
        """Raises InvalidInput."""
        for name in fields:
            if name not in DEFAULT_FIELDS:
                raise InvalidInput(f"field {name[:60]!r} is not one that means anything: {', '.join(DEFAULT_FIELDS)}")
        for word, meaning in statuses.items():
            if meaning not in MEANINGS:
                raise InvalidInput(f"status {word[:60]!r} can't mean {meaning[:60]!r}: {', '.join(sorted(MEANINGS))}")
        if otherwise not in ("", "succeeded"):
            raise InvalidInput(f"what is not known can't be {otherwise[:60]!r}: succeeded, or nothing")
        self._fields = DEFAULT_FIELDS | {name: (plain(path),) for name, path in fields.items()}
        self._statuses = DEFAULT_STATUSES | {plain(word).replace(" ", ""): what for word, what in statuses.items()}
        self._otherwise = otherwise

    def nothing(self) -> Facts:
        """Facts where there is no metadata."""
        return Facts(self._outcome({}, 0, 0))

    def read(self, data: bytes) -> Facts:
        """Raises Corrupt when it can't be used, and says where; NotOver when the task still runs."""
        left = _Fields(_parse(data))
        started_ns, ended_ns = left.time("started", self._fields), left.time("ended", self._fields)
        said = {name: left.scalar(name, self._fields) for name in ("exit_code", "signal", "status", "message")}
        outcome = self._outcome(said, started_ns, ended_ns)
        host = str(left.scalar("host", self._fields) or "")[:_MAX_TEXT]
        command = left.command(self._fields)
        labels, rest = left.labels(self._fields)
        return Facts(outcome, started_ns, ended_ns, to_label(host), command, labels, rest)

    def _outcome(self, said: Mapping[str, _Scalar | None], started_ns: int, ended_ns: int) -> Outcome:
        word = str(said.get("status") or "")[:_MAX_TEXT]
        meaning = self._statuses.get(plain(word).replace(" ", ""), "") if word else ""
        exit_code, signal = _integer("exit_code", said.get("exit_code")), _integer("signal", said.get("signal"))
        if meaning == RUNNING and exit_code is None:
            raise NotOver(f"its metadata says that it is {word[:60]}")
        told = [to_label(str(said.get("message") or "")), f"status {to_label(word[:100])}" if word else ""]
        outcome = Outcome(started_ns=started_ns, ended_ns=ended_ns)
        if signal:
            outcome.kind, outcome.signal = types_pb2.OUTCOME_KIND_SIGNALED, signal
        elif meaning in ("timed_out", "evicted", "node_lost"):
            outcome.kind, outcome.exit_code = _KINDS[meaning], exit_code or 0
        elif exit_code is not None:
            outcome.kind, outcome.exit_code = types_pb2.OUTCOME_KIND_EXITED, exit_code
        else:
            outcome.kind = _KINDS.get(meaning or self._otherwise, types_pb2.OUTCOME_KIND_UNSPECIFIED)
            told.append("the exit code is not known")
        outcome.message = "; ".join(filter(None, told))
        return outcome


def _parse(data: bytes) -> dict[str, object]:
    if len(data) > MAX_METADATA_BYTES:
        raise Corrupt(f"it has more than {MAX_METADATA_BYTES} bytes")
    try:
        found = json.loads(data.decode("utf-8-sig"), parse_constant=_no_constant, parse_int=_parse_int)
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"is no JSON: {str(error)[:200]}") from None
    if not isinstance(found, dict):
        raise Corrupt("is no JSON object")
    return found


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _parse_int(text: str) -> int | str:
    return int(text) if len(text) <= 40 else text


def _flat(value: Mapping[str, object], prefix: str = "", depth: int = 1) -> Iterator[tuple[str, object]]:
    for name, one in value.items():
        if isinstance(one, dict) and depth < _MAX_DEPTH and one:
            yield from _flat(one, f"{prefix}{name}.", depth + 1)
        else:
            yield prefix + name, one


class _Fields:
    """Fields by their paths; what is taken is gone."""

    def __init__(self, found: dict[str, object]) -> None:
        self._left: dict[str, object] = {}
        for path, value in _flat(found):
            if len(self._left) >= _MAX_FIELDS:
                raise Corrupt(f"has more than {_MAX_FIELDS} fields")
            self._left[path] = value
        # Of two that are written alike, the first counts.
        self._paths: dict[str, str] = {}
        for path in self._left:
            self._paths.setdefault(plain(path), path)

    def _value(self, path: str) -> object:
        return self._left[self._paths[path]] if path in self._paths else None

    def _take(self, path: str) -> None:
        del self._left[self._paths.pop(path)]

    def scalar(self, name: str, fields: Mapping[str, Sequence[str]]) -> _Scalar | None:
        """The first field with this meaning that is a text, number or truth."""
        for path in fields[name]:
            value = self._value(path)
            if isinstance(value, str | int | float) and value != "":
                self._take(path)
                return value
        return None

    def time(self, name: str, fields: Mapping[str, Sequence[str]]) -> int:
        value = self.scalar(name, fields)
        if value is None or isinstance(value, bool):
            return 0
        return parse_time(value, name)

    def command(self, fields: Mapping[str, Sequence[str]]) -> list[str]:
        for path in fields["command"]:
            value = self._value(path)
            if isinstance(value, str) or (
                isinstance(value, list) and all(isinstance(one, str) for one in value) and len(value) <= _MAX_COMMAND
            ):
                self._take(path)
                return [_text(one) for one in ([value] if isinstance(value, str) else value)]
        return []

    def labels(self, fields: Mapping[str, Sequence[str]]) -> tuple[dict[str, str], str]:
        """Labels by their names, those that are called so first; and JSON of what is left."""
        first: dict[str, str] = {}
        others: dict[str, str] = {}
        rest: dict[str, object] = {}
        for path, value in self._left.items():
            inside = next((path[len(one) + 1 :] for one in fields["labels"] if plain(path).startswith(f"{one}.")), "")
            label = _label_name(inside or path)
            text = _shown(value)
            target = first if inside else others
            if text is None or not label or label in first or label in others or len(text) > _MAX_TEXT:
                rest[path] = value
            else:
                target[label] = to_label(text)
        labels = dict(list((first | others).items())[: MAX_LABELS // 2])
        rest |= {name: text for name, text in (first | others).items() if name not in labels}
        packed = json.dumps(rest, ensure_ascii=True) if rest else ""
        return labels, packed if len(packed) <= MAX_REST_BYTES else '"more than can be kept"'


def _label_name(path: str) -> str:
    name = to_name(path.replace("/", "."))
    try:
        return check_name("label", name)
    except InvalidInput:
        return ""


def _shown(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    return str(value) if isinstance(value, int | float) else None


def _text(value: str) -> str:
    """A text that can be UTF-8."""
    return value[: 4 * _MAX_TEXT].encode(errors="replace").decode()


def _integer(name: str, value: _Scalar | None) -> int | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        found = int(value)
    except (ValueError, OverflowError):
        raise Corrupt(f"{name} is {str(value)[:40]!r}, no integer") from None
    if found != value and not isinstance(value, str):
        raise Corrupt(f"{name} is {str(value)[:40]!r}, no integer")
    if not -(2**31) <= found < 2**31:
        raise Corrupt(f"{name} is {str(value)[:40]!r}, out of range")
    return found


def parse_time(value: _Scalar, name: str) -> int:
    """Nanoseconds since 1970 of ISO 8601 (UTC where no zone is given) or of a number of s, ms, µs or ns.

    Raises Corrupt.
    """
    text = str(value).strip()
    try:
        found = _of_number(text)
        if found is None:
            moment = datetime.fromisoformat(_shortened(text))
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            since = moment - datetime(1970, 1, 1, tzinfo=UTC)
            found = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
    except (ValueError, OverflowError):
        raise Corrupt(f"{name} is {text[:60]!r}, no time such as 2026-01-31T12:00:00Z or 1769860800") from None
    if not 0 < found <= _MAX_NS:
        raise Corrupt(f"{name} is {text[:60]!r}, out of range")
    return found


def _of_number(text: str) -> int | None:
    if not re.fullmatch(r"[0-9]{1,19}(\.[0-9]{1,9})?", text, re.ASCII):
        return None
    whole, _, fraction = text.partition(".")
    number = int(whole)
    # Seconds up to the year 5138, then milliseconds, microseconds.
    for limit, factor in ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3)):
        if number < limit:
            return number * factor + int(fraction.ljust(9, "0")) * factor // 10**9
    return number


def _shortened(text: str) -> str:
    """Without what is finer than a microsecond."""
    return re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text, count=1)
