"""What JSON from elsewhere says, where it says what it should: anything else counts as nothing said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MAX_TEXTS = 1000


def object_of(said: object) -> Mapping[str, Any]:
    """An object; an empty one for anything else."""
    return said if isinstance(said, dict) else {}


def objects_of(said: object) -> list[Mapping[str, Any]]:
    """The objects in an array."""
    return [one for one in said if isinstance(one, dict)] if isinstance(said, list) else []


def text_of(said: object) -> str:
    """A text; an empty one for anything else."""
    # JSON may hold halves of characters, which nothing that is written down may.
    return said.encode(errors="replace").decode() if isinstance(said, str) else ""


def words_of(said: object) -> list[str]:
    """The texts in an array."""
    return [text_of(one) for one in said if isinstance(one, str)] if isinstance(said, list) else []


def texts_of(said: object) -> dict[str, str]:
    """The texts in an object, by name; not more than anybody needs."""
    items = object_of(said).items()
    return {text_of(key): text_of(value) for key, value in list(items)[:_MAX_TEXTS] if isinstance(value, str)}


def integer_of(said: object, low: int, high: int) -> int | None:
    """An integer between these; None for anything else."""
    return said if type(said) is int and low <= said <= high else None
