"""Serves the admin UI: its one page, for every address that is not the API's, and the files that it is made of."""

from __future__ import annotations

import gzip
import mimetypes
import secrets
from functools import lru_cache
from html import escape
from pathlib import Path
from typing import NamedTuple

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from joblog.leader.api.http.methods import API

FOLDER = Path(__file__).parent.parent / "ui"
# Files' names change with their content.
_FOR_EVER = "public, max-age=31536000, immutable"
_SMALL_BYTES = 1024
_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>joblog</title>
<h1>joblog</h1><p>The admin UI is not part of this installation: it is built with Node.js, by <code>make ui</code> in a
checkout of the sources, and is part of every released package.</p>
<p>Everything else works: <code>joblog ls</code>, <code>joblog logs</code>, <code>joblog search</code>, and
<a href="{base}api/v1/openapi.json">the HTTP API</a>.</p></html>"""


class _File(NamedTuple):
    data: bytes
    packed: bytes | None
    media_type: str


@lru_cache(maxsize=256)
def _file(path: Path) -> _File:
    data = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    text = media_type.startswith("text/") or media_type.endswith(("javascript", "json", "svg+xml"))
    packed = gzip.compress(data, 9, mtime=0) if text and len(data) > _SMALL_BYTES else None
    return _File(data, packed, media_type)


def _names(folder: Path) -> dict[str, Path]:
    """Every file by the path that it is served under: nothing else can be asked for, whatever a request says."""
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


def _security(nonce: str) -> str:
    return (
        f"default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
    )


def add_ui(app: FastAPI, *, base_path: str, folder: Path | None = None) -> None:
    """Adds the routes, which must come last. base_path: "/", or the path that a proxy serves this leader under."""
    folder = folder or FOLDER
    names = _names(folder) if folder.is_dir() else {}
    index = names.pop("index.html", None)

    @app.get("/assets/{name:path}", include_in_schema=False)
    async def ui_file(request: Request, name: str) -> Response:
        path = names.get(f"assets/{name}")
        if path is None:
            raise HTTPException(404, "Not Found")
        return _reply(request, _file(path), {"Cache-Control": _FOR_EVER})

    @app.get("/{path:path}", include_in_schema=False)
    async def ui_page(request: Request, path: str) -> Response:
        if path.startswith(API[1:]):
            raise HTTPException(404, "Not Found")
        if path in names:
            return _reply(request, _file(names[path]), {"Cache-Control": "no-cache"})
        base = escape(base_path)
        if index is None:
            return HTMLResponse(_NOT_BUILT.format(base=base))
        nonce = secrets.token_urlsafe(16)
        head = f'<head><base href="{base}"><meta name="csp-nonce" content="{nonce}">'
        text = _file(index).data.decode().replace("<head>", head, 1)
        return HTMLResponse(text, headers={"Content-Security-Policy": _security(nonce), "Cache-Control": "no-store"})


def _reply(request: Request, file: _File, headers: dict[str, str]) -> Response:
    headers = {**headers, "Vary": "Accept-Encoding"}
    if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, media_type=file.media_type, headers={**headers, "Content-Encoding": "gzip"})
    return Response(file.data, media_type=file.media_type, headers=headers)
