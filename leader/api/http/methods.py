"""Which methods an address of the API has: what a 405 says in Allow. An address has a route for each of its methods."""

from __future__ import annotations

import re

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import compile_path

API = "/api/"


def methods_of(app: FastAPI, path: str) -> list[str]:
    """The methods of an address of the API, in order; none where there is no such address."""
    if not hasattr(app.state, "methods"):
        app.state.methods = _table(app)
    table: list[tuple[re.Pattern[str], frozenset[str]]] = app.state.methods
    return sorted({method for pattern, methods in table if pattern.match(path) for method in methods})


def _table(app: FastAPI) -> list[tuple[re.Pattern[str], frozenset[str]]]:
    return [
        (compile_path(route.path)[0], frozenset(route.methods))
        for route in iter_route_contexts(app.routes)
        if route.path is not None and route.path.startswith(API) and route.methods
    ]
