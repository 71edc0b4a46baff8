"""How many entries a page of a gRPC list has."""

from __future__ import annotations

from joblog.errors import InvalidInput

MAX_PAGE_SIZE = 1000
DEFAULT_PAGE_SIZE = 100


def page_size(asked: int) -> int:
    """How many entries a page holds; raises InvalidInput."""
    if asked > MAX_PAGE_SIZE:
        raise InvalidInput(f"page_size {asked} is out of range: at most {MAX_PAGE_SIZE} are allowed")
    return asked or DEFAULT_PAGE_SIZE
