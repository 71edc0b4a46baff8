"""Which log a sender's records are: by the attributes of its resource and the scope's name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from joblog.errors import InvalidInput
from joblog.identity import MAX_LABEL_VALUE_LENGTH, MAX_LABELS, LogName, check_attempt, check_name, check_writable_name
from joblog.worker.following.spools import RECEIVED
from joblog.worker.kubernetes.pods import LogTarget, allowed_name

_OURS = "joblog."
_UNNAMED = "main"


def target_of(
    attributes: Mapping[str, str], scope: str, *, namespace: str, may_choose: Sequence[str]
) -> tuple[str, LogTarget]:
    """(source of the log's spool, the log). attributes: of the resource, as texts. Raises InvalidInput.

    run: `joblog.run`, else `service.name`. task: `joblog.task`, else the scope's name. attempt: `joblog.attempt`, else
    the next free one; a sender with another `service.instance.id` (or host and process) has a log of its own.
    """
    chosen = attributes.get("joblog.namespace", "")
    if chosen and not any(fnmatchcase(chosen, pattern) for pattern in may_choose):
        raise InvalidInput(f"namespace {chosen[:60]!r} is not among those that senders may choose (otlp.may_choose)")
    name = LogName(
        chosen or namespace,
        allowed_name(attributes.get("joblog.run") or attributes.get("service.name") or _UNNAMED),
        allowed_name(attributes.get("joblog.task") or scope or _UNNAMED),
        _attempt(attributes.get("joblog.attempt", "")),
    )
    check_writable_name(name)
    instance = attributes.get("service.instance.id") or (
        f"{attributes.get('host.name', '')} {attributes.get('process.pid', '')}"
    )
    source = RECEIVED + json.dumps([*name, instance[:MAX_LABEL_VALUE_LENGTH]], separators=(",", ":"))
    return source, LogTarget(name, labels=_labels(attributes), host=attributes.get("host.name", "")[:250])


def _attempt(text: str) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise InvalidInput(f"joblog.attempt: {text[:40]!r} is no number")
    return check_attempt(int(text))


def _labels(attributes: Mapping[str, str]) -> dict[str, str]:
    """Attributes that can be labels; of too many the first ones by name."""
    labels: dict[str, str] = {}
    for key, value in sorted(attributes.items()):
        if key.startswith(_OURS) or not value or len(value) > MAX_LABEL_VALUE_LENGTH or not value.isprintable():
            continue
        try:
            labels[check_name("label", key)] = value
        except InvalidInput:
            continue
        if len(labels) == MAX_LABELS:
            break
    return labels
