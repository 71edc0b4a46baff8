"""What every reply carries, and a leader behind a proxy: names, a path, who asks and how."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts

from joblog.errors import InvalidInput, TooMany
from joblog.leader.access.attempts import AttemptLimits, Attempts, source_of
from joblog.leader.access.audit import AuditEvent, NoAudit
from joblog.leader.access.authority import Authority
from joblog.leader.access.recognition import Recogniser
from joblog.leader.api.gate import Gate
from joblog.leader.api.http.app import make_routes
from joblog.leader.api.http.place import Place, check_base_path, check_proxy, check_url
from tests.e2e.access_callers import make_callers
from tests.e2e.api_server import Web, api_in

MEANT = {"Joblog-Request": "1"}
EVERYWHERE = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


class Notes(NoAudit):
    """Keeps the addresses that acts came from."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    def note(self, event: AuditEvent) -> None:
        self.events.append(event)

    async def record(self, event: AuditEvent) -> None:
        self.events.append(event)


def tls_in(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For a server on 127.0.0.1 and leader.example, and for its clients."""
    authority = Authority.open(folder)
    pair = authority.server_pair(["127.0.0.1", "leader.example"], 3600)
    file = folder / "server.pem"
    file.write_bytes(pair.chain + pair.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=authority.pem.decode())


async def test_every_reply_of_every_route_forbids_what_it_can(tmp_path: Path) -> None:
    server, client = tls_in(tmp_path)
    place = Place(names=("leader.example",))
    async with api_in(tmp_path, web=Web(place=place, tls=server, verify=client)) as api:
        seen = 0
        for route in iter_route_contexts(make_routes(api.http_server._context).routes):
            assert route.path is not None
            path = re.sub(r"\{[^}]*\}", "x", route.path.replace("{attempt}", "1"))
            for method in sorted(route.methods or ()):
                for host in ("leader.example", "evil.example"):
                    reply = await api.http.request(method, path, headers={"Host": host})
                    assert (reply.status_code == 421) == (host == "evil.example"), (method, path)
                    found = {name: reply.headers.get(name) for name in EVERYWHERE}
                    assert found == EVERYWHERE, (method, path)
                    policy = reply.headers["content-security-policy"]
                    for word in ("default-src 'none'", "frame-ancestors 'none'", "base-uri '", "form-action '"):
                        assert word in policy, (method, path)
                    assert "unsafe" not in policy
                    assert "sandbox" in policy or reply.headers["content-type"].startswith("text/html")
                    assert "camera=()" in reply.headers["permissions-policy"]
                    assert reply.headers["strict-transport-security"] == "max-age=31536000"
                    assert "access-control-allow-origin" not in reply.headers
                    assert "server" not in reply.headers
                    seen += 1
        assert seen > 60
        # Browsers would hold other programs on this machine to it too.
        assert "strict-transport-security" not in (await api.http.get("/healthz")).headers


@pytest.mark.parametrize("is_taken_off", [True, False])
async def test_under_a_path_all_works_whether_the_proxy_takes_it_off_or_not(tmp_path: Path, is_taken_off: bool) -> None:
    server, client = tls_in(tmp_path)
    place = Place(base_path="/tools/joblog/")
    gate = lambda store: Gate(store, Recogniser(store))  # noqa: E731
    async with api_in(tmp_path, gate, web=Web(place=place, tls=server, verify=client)) as api:
        assert api.http_server.url.endswith("/tools/joblog")
        origin = api.http_server.url.removesuffix("/tools/joblog")
        base = origin if is_taken_off else api.http_server.url
        token = make_callers(api.access_store).tokens["reader"]
        reply = await api.http.post(f"{base}/api/v1/session", json={"token": token}, headers=MEANT)
        assert reply.status_code == 201
        cookie = reply.headers["set-cookie"]
        assert cookie.startswith("__Secure-joblog-")
        assert "; Path=/tools/joblog/;" in cookie
        shown = {"Cookie": cookie.partition(";")[0]}
        assert (await api.http.get(f"{base}/api/v1/whoami", headers=shown)).json()["name"] == "reader"
        assert (await api.http.get(f"{base}/healthz")).status_code == 200
        page = await api.http.get(f"{base}/runs")
        assert "/tools/joblog/" in page.text
        assert (
            (await api.http.get(f"{origin}/tools/jobloggers/healthz")).headers["content-type"].startswith("text/html")
        )
        assert (await api.http.get(f"{base}/api/v1/nothing")).status_code == 404


async def test_only_a_proxy_that_is_known_is_believed(tmp_path: Path) -> None:
    for proxies, believed in ((("127.0.0.0/8", "10.1.2.3"), True), (("10.0.0.0/8",), False), ((), False)):
        notes = Notes()
        folder = tmp_path / str(len(proxies)) / str(believed)
        folder.mkdir(parents=True)
        place = Place(trusted_proxies=proxies)
        gate = lambda store: Gate(store, Recogniser(store), notes)  # noqa: B023, E731
        async with api_in(folder, gate, web=Web(place=place)) as api:
            token = make_callers(api.access_store).tokens["reader"]
            forwarded = {"X-Forwarded-For": "6.6.6.6, 203.0.113.9, 10.1.2.3", "X-Forwarded-Proto": "https"}
            reply = await api.http.post("/api/v1/session", json={"token": token}, headers={**MEANT, **forwarded})
            assert reply.status_code == 201
            assert ("Secure" in reply.headers["set-cookie"]) == believed
            login = next(event for event in notes.events if event.action == "login")
            assert login.peer.startswith("203.0.113.9:" if believed else "127.0.0.1:")


async def test_names_that_a_leader_answers_to(tmp_path: Path) -> None:
    place = Place(url="https://logs.example:8443", names=("*.inner.example",))
    async with api_in(tmp_path, web=Web(place=place)) as api:

        async def status(host: str) -> int:
            return (await api.http.get("/healthz", headers={"Host": host})).status_code

        for host in ("logs.example:8443", "LOGS.example", "a.inner.example", "localhost", "127.0.0.1", "logs.example."):
            assert await status(host) == 200, host
        for host in (
            "example",
            "inner.example",
            "a.b.inner.example",
            "xinner.example",
            "evil.example",
            "*.inner.example.x",
        ):
            assert await status(host) == 421, host
        assert api.http_server.page() == "https://logs.example:8443/"


async def test_a_page_at_the_leaders_own_url_may_change_things_whatever_port_a_proxy_tells(tmp_path: Path) -> None:
    place = Place(url="https://logs.example:8443")
    async with api_in(tmp_path, lambda store: Gate(store, Recogniser(store)), web=Web(place=place)) as api:
        body = {"token": make_callers(api.access_store).tokens["reader"]}

        async def status(origin: str, host: str) -> int:
            headers = {**MEANT, "Origin": origin, "Host": host}
            return (await api.http.post("/api/v1/session", json=body, headers=headers)).status_code

        for host in ("logs.example", "logs.example:8443", "127.0.0.1"):
            assert await status("https://logs.example:8443", host) == 201, host
            for origin in (
                "https://logs.example:8444",
                "http://logs.example:8443",
                "https://evil.example:8443",
                "null",
            ):
                # A leader without TLS of its own can't tell whether a proxy that it does not know ended it.
                if origin.partition("://")[2] != host:
                    assert await status(origin, host) == 403, (origin, host)


def test_places_that_are_none_are_refused() -> None:
    for path in ("/", "/joblog/", "/a/b-c/"):
        assert check_base_path(path) == path
    for path in (
        "",
        "joblog",
        "/joblog",
        "joblog/",
        "//",
        "/a//b/",
        "/../",
        "/a/../b/",
        "/api/",
        "/runs/x/",
        "/a b/",
        "/%61/",
    ):
        with pytest.raises(InvalidInput):
            check_base_path(path)
    for url in ("", "https://a", "https://a:1", "http://[::1]:80", "https://a/"):
        assert check_url(url) == url
    for url in ("a", "https://", "ftp://a", "https://a/b", "https://a?b", "https://u@a", "https://a:x", "https://a#b"):
        with pytest.raises(InvalidInput):
            check_url(url)
    for proxy in ("*", "localhost", "10.0.0.1/8", ""):
        with pytest.raises(InvalidInput):
            check_proxy(proxy)


def test_attempts_are_counted_by_source_and_in_all() -> None:
    now = [0.0]
    attempts = Attempts(AttemptLimits(3, 10), clock=lambda: now[0])
    for _ in range(3):
        attempts.check("192.0.2.1:1000")
        attempts.failed("192.0.2.1:1000")
    with pytest.raises(TooMany) as caught:
        attempts.check("ipv4:192.0.2.1:2000")
    assert caught.value.retry_after_seconds == pytest.approx(20)
    attempts.check("192.0.2.2:1")
    now[0] += 19.9
    with pytest.raises(TooMany):
        attempts.check("192.0.2.1:3")
    now[0] += 0.2
    attempts.check("192.0.2.1:3")
    attempts.succeeded("192.0.2.200:1")
    for number in range(20):
        attempts.failed(f"192.0.2.{number + 10}:1")
    with pytest.raises(TooMany):
        attempts.check("192.0.2.99:1")
    attempts.check("192.0.2.200:1")


def test_a_source_is_an_address_or_the_network_of_a_site() -> None:
    assert source_of("127.0.0.1:80") == source_of("ipv4:127.0.0.1:81") == "127.0.0.1"
    assert source_of("ipv6:%5B2001:db8:1:2:3::4%5D:80") == source_of("2001:db8:1:2:ffff::1:99") == "2001:db8:1:2::"
    assert source_of("[::ffff:192.0.2.1]:80") == "192.0.2.1"
    assert source_of("unix:/x") == source_of("unix:/y") == "unix"
    assert len(source_of("x" * 5000)) == 100
