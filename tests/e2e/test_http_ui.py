"""The admin UI as the HTTP server gives it: one page for every address, its files, and what they may do."""

from __future__ import annotations

import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from joblog.leader.api.http import ui
from tests.e2e.api_server import Api, api_in

INDEX = '<!doctype html><html><head><title>joblog</title></head><body><script src="./assets/a-1.js"></script></body>'
SCRIPT = "console.log(1);" * 200


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A UI as its build leaves it."""
    folder = tmp_path / "built"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(INDEX)
    (folder / "assets" / "a-1.js").write_text(SCRIPT)
    (folder / "assets" / "a-1.css").write_text("a{}")
    (folder / "favicon.svg").write_text("<svg/>")
    (tmp_path / "secret").write_text("not of the UI")
    return folder


@pytest.fixture
async def api(tmp_path: Path, built: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Api]:
    monkeypatch.setattr(ui, "FOLDER", built)
    async with api_in(tmp_path) as running:
        yield running


async def test_every_address_that_is_not_the_apis_gives_the_page(api: Api) -> None:
    nonces = set()
    for path in ("/", "/runs/default/r", "/logs/default/r/t/1", "/login?to=%2Fruns"):
        reply = await api.http.get(path)
        assert reply.status_code == 200
        assert reply.headers["content-type"] == "text/html; charset=utf-8"
        assert reply.headers["cache-control"] == "no-store"
        (nonce,) = re.findall(r'<meta name="csp-nonce" content="([^"]+)">', reply.text)
        assert '<head><base href="/">' in reply.text
        policy = reply.headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; " in policy
        assert f"style-src 'self' 'nonce-{nonce}'" in policy
        assert "unsafe" not in policy
        nonces.add(nonce)
    assert len(nonces) == 4
    for path in ("/api/v1/nothing", "/api/", "/assets/nothing.js", "/assets/"):
        assert (await api.http.get(path)).status_code == 404, path


async def test_files_of_the_ui_are_kept_by_browsers_for_ever(api: Api) -> None:
    reply = await api.http.get("/assets/a-1.js", headers={"Accept-Encoding": "gzip"})
    assert (reply.text, reply.headers["content-encoding"]) == (SCRIPT, "gzip")
    assert re.match("(text|application)/javascript", reply.headers["content-type"])
    assert "immutable" in reply.headers["cache-control"]
    assert "default-src 'none';" in reply.headers["content-security-policy"]
    plain = await api.http.get("/assets/a-1.js", headers={"Accept-Encoding": "identity"})
    assert (plain.text, "content-encoding" in plain.headers) == (SCRIPT, False)
    assert len(gzip.compress(SCRIPT.encode())) < len(SCRIPT)
    assert (await api.http.get("/assets/a-1.css")).headers["content-type"].startswith("text/css")
    icon = await api.http.get("/favicon.svg")
    assert (icon.text, icon.headers["cache-control"]) == ("<svg/>", "no-cache")
    assert icon.headers["content-type"] == "image/svg+xml"


async def test_no_path_leads_out_of_the_uis_folder(api: Api) -> None:
    for path in ("/assets/../../secret", "/assets/%2e%2e/%2e%2e/secret", "/assets/..%2f..%2fsecret", "/..%2fsecret"):
        reply = await api.http.get(path)
        assert "not of the UI" not in reply.text, path


async def test_under_a_proxys_path_the_page_says_where_it_lies(built: Path) -> None:
    app = FastAPI()
    ui.add_ui(app, base_path='/logs"<of>/', folder=built)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        assert '<head><base href="/logs&quot;&lt;of&gt;/">' in (await client.get("/runs")).text


async def test_where_the_ui_was_not_built_the_page_says_so(tmp_path: Path) -> None:
    app = FastAPI()
    ui.add_ui(app, base_path="/", folder=tmp_path / "nothing")
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        reply = await client.get("/runs")
        assert reply.status_code == 200
        assert "make ui" in reply.text
        assert 'href="/api/v1/openapi.json"' in reply.text
        assert (await client.get("/assets/a.js")).status_code == 404
