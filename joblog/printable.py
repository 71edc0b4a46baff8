"""Text of unknown origin on one line, for messages."""

from __future__ import annotations


def printable(text: str) -> str:
    """Text that came from a task, a worker or a bucket, with what could steer a terminal shown as escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
