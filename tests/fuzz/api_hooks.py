"""What the OpenAPI document can't say, for schemathesis: good data that it makes is brought to that before it is sent.

Bad data stays as it is made.
"""

from __future__ import annotations

import os
import re
from typing import Any

import schemathesis

OWN_TOKEN = "FUZZ_OWN_TOKEN"
# Of the logs that are asked for.
LINES, LINE = 1000, b"a line\n"
# At most one of them says where to begin.
_STARTS = ("offset", "line", "tail", "tail_bytes")


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    parameters = case.path_parameters or {}
    if parameters.get("token_id") == os.environ[OWN_TOKEN]:
        # All that follows would be asked by nobody.
        parameters["token_id"] = "another"
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    query = case.query or {}
    # Only the leader makes cursors.
    query.pop("cursor", None)
    for name in [name for name in _STARTS if name in query][1:]:
        del query[name]
    for name in ("offset", "from_offset", "line", "from"):
        if name in query:
            query[name] = int(query[name]) % LINES or 1
    if "q" in query:
        # The end of a regular expression is also before a newline.
        query["q"] = str(query["q"]).removesuffix("\n") or "q"
    if _is_true(query.get("regex")):
        query["q"] = re.escape(str(query["q"]))
    _give_one_of_two(case, query)
    if isinstance(case.body, dict):
        for name in ("name", "worker_id", "address"):
            if isinstance(case.body.get(name), str):
                case.body[name] = _printable(case.body[name])


def _give_one_of_two(case: Any, query: dict[str, Any]) -> None:
    """Where the leader wants either of two things."""
    if case.operation.path.endswith("/certificates") and case.method == "DELETE":
        # One of the two.
        query.pop("serial", None)
        query["worker_id"] = query.get("worker_id") or "w"
        case.query = query
    if case.operation.path.endswith("/holds") and case.method in ("POST", "DELETE"):
        # A run with its namespace, or a label, with names that are some.
        wanted = {"namespace": "default", "run": "r"}
        if isinstance(case.body, dict):
            case.body = {"reason": _printable(str(case.body.get("reason", ""))), **wanted}
        else:
            case.query = wanted


def _is_true(value: object) -> bool:
    return str(value).lower() in ("true", "1")


def _printable(text: str) -> str:
    return "".join(letter if " " <= letter <= "~" else "x" for letter in text)
