"""One line of a run log: a time, a word, and `key=value` pairs. Imports next to nothing, because supervisors do."""

from __future__ import annotations

import json
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def run_line(time_ns: int, word: str, pairs: Mapping[str, object]) -> str:
    """The line, its end included. Pairs without a value are left out; values with spaces become JSON strings."""
    shown = [f"{key}={_value(value)}" for key, value in pairs.items() if value not in (None, "")]
    return " ".join([run_time(time_ns), word, *shown]) + "\n"


def dispatched_pairs(task: str, attempt: int, host: str, command: str) -> dict[str, object]:
    """What a run log says of a task that was started. attempt: 0 where it is not known yet."""
    return {"task": task, "attempt": attempt or None, "host": host, "command": command}


def finished_pairs(
    task: str, attempt: int, *, exit_code: int | None, signal: int | None, seconds: float | None, message: str
) -> dict[str, object]:
    """What a run log says of a task that has ended."""
    took = None if seconds is None else round(seconds, 3)
    result = {"exit_code": exit_code, "signal": signal, "seconds": took, "message": message}
    return {"task": task, "attempt": attempt or None, **result}


def run_time(time_ns: int) -> str:
    """A time as run logs write it: UTC, to the microsecond."""
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction // 1000:06d}Z"


def _value(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and not any(c in ' "=' for c in text)
    return text if plain else json.dumps(text, ensure_ascii=False)
