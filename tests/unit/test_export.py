"""The export of log lines over OTLP: none missing, whatever the collector answers; nobody waits for it."""

from __future__ import annotations

import asyncio
import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from joblog.leader.access.authority import Authority, key_pem_of
from joblog.leader.buffer.changes import Changes
from joblog.leader.deletion import Deleter
from joblog.leader.export import exporter as exporting
from joblog.leader.export.exporter import ExportPlan
from joblog.leader.export.sender import Secrets
from joblog.v1 import ingest_pb2, types_pb2
from tests.e2e.push_stream import append_of, close_of, leader_in, open_of
from tests.exporting import TIME_NS, exporting_to, frames_of, lines, whole
from tests.otlp_collector import Partial, Refused, collector

Code = grpc.StatusCode


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(exporting, "FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(exporting, "LONGEST_PAUSE_SECONDS", 0.1)


async def test_live_and_completed_logs_come_whole_and_say_what_they_are(tmp_path: Path) -> None:
    async with collector() as to, leader_in(tmp_path) as leader, exporting_to(leader, to) as at, leader.push() as push:
        start = types_pb2.TaskStart(host="h1", labels={"team": "core"})
        await push.open(open_of(1, task="live", attempt=3, start=start))
        await push.send(appends=[frames_of(1, 0, [(1, b"out\nha"), (2, b"err\n"), (1, b"lf\n"), (2, b"open")])])
        await to.until(lambda: len(to.taken) == 3)
        first, second, third = sorted(to.taken, key=lambda one: one.key)
        uid = leader.store.get_log(1).uid.hex()  # type: ignore[union-attr]
        assert first.attributes == {
            "service.namespace": "default",
            "service.name": "live",
            "service.instance.id": uid,
            "host.name": "h1",
            "joblog.namespace": "default",
            "joblog.run": "r",
            "joblog.task": "live",
            "joblog.attempt": 3,
            "joblog.uid": uid,
            "joblog.worker": "w1",
            "joblog.label.team": "core",
            "log.iostream": "stdout",
            "joblog.offset": 0,
        }
        assert (first.body, first.time_ns) == ("out", TIME_NS)
        assert (second.body, second.key[1], second.attributes["log.iostream"]) == ("half", 4, "stdout")
        assert (third.body, third.time_ns, third.attributes["log.iostream"]) == ("err", TIME_NS + 10**6, "stderr")
        data = b"out\nhaerr\nlf\nopen"
        await push.send(closes=[close_of(1, data)])
        await push.until(lambda: 1 in push.closed)
        await whole(push, 2, lines("short", 5), task="short")
        await whole(push, 3, b"", task="empty")
        await at.done()
        assert to.text("live", "stderr") == "err\nopen"
        assert to.text("short") == lines("short", 5).decode()
        assert len(to.taken) == 9 == at.count("records_total")
        assert at.count("bytes_total") == len(data) + len(lines("short", 5))
        assert [event.action for event in at.acts.events] == ["export.start"]
        assert at.exporter.warnings() == []


async def test_many_logs_share_requests_and_a_large_one_takes_several(tmp_path: Path) -> None:
    large = b"".join(b"%07d " % number + b"\xff" * 60 + b"\n" for number in range(12_000))
    async with collector() as to, leader_in(tmp_path) as leader:
        async with exporting_to(leader, to, running=False), leader.push() as push:
            for handle in range(1, 41):
                await whole(push, handle, lines(f"t{handle}", 3), task=f"t{handle}")
            await push.open(open_of(50, task="large"))
            for at in range(0, len(large), 1 << 19):
                await push.send(appends=[append_of(50, at, large[at : at + (1 << 19)])])
            await push.send(closes=[close_of(50, large)])
            await push.until(lambda: 50 in push.closed)
        async with exporting_to(leader, to) as exporting_:
            await exporting_.done()
            assert exporting_.count("records_total") == 120 + 12_000 == len(to.taken)
        assert len(to.requests[0].resource_logs) >= 40
        assert 2 <= len(to.requests) < 40
        assert max(request.ByteSize() for request in to.requests) < 3 << 20
        texts = to.texts()
        assert texts["large", "stdout"] == large.decode(errors="replace")
        assert all(texts[f"t{handle}", "stdout"] == lines(f"t{handle}", 3).decode() for handle in range(1, 41))


@pytest.mark.parametrize(
    "code",
    [
        Code.UNAVAILABLE,
        Code.CANCELLED,
        Code.DEADLINE_EXCEEDED,
        Code.ABORTED,
        Code.OUT_OF_RANGE,
        Code.DATA_LOSS,
        Code.UNAUTHENTICATED,
        Code.PERMISSION_DENIED,
        Code.UNIMPLEMENTED,
    ],
)
async def test_what_may_be_sent_again_is(tmp_path: Path, code: Code) -> None:
    async with collector() as to, leader_in(tmp_path) as leader, exporting_to(leader, to) as at, leader.push() as push:
        to.answers = [Refused(code), Refused(code)]
        await whole(push, 1, lines("t", 10))
        await to.until(lambda: at.count("failures_total", code=code.name) == 2 or not to.answers)
        await at.done()
        assert to.text("t") == lines("t", 10).decode()
        assert (len(to.taken), at.count("failures_total", code=code.name)) == (10, 2)


@pytest.mark.parametrize(
    "code",
    [
        Code.INVALID_ARGUMENT,
        Code.UNKNOWN,
        Code.INTERNAL,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.FAILED_PRECONDITION,
        Code.RESOURCE_EXHAUSTED,
    ],
)
async def test_what_may_never_be_sent_again_is_counted_and_left(tmp_path: Path, code: Code) -> None:
    async with collector() as to, leader_in(tmp_path) as leader, exporting_to(leader, to) as at, leader.push() as push:
        to.answers = [Refused(code)]
        await whole(push, 1, lines("bad", 7), task="bad")
        await at.done()
        await whole(push, 2, lines("good", 3), task="good")
        await at.done()
        assert [one.attributes["joblog.task"] for one in to.taken] == ["good"] * 3
        assert at.count("rejected_records_total", code=code.name) == 7
        assert at.count("records_total") == 3


async def test_a_collector_that_asks_for_a_pause_gets_it(tmp_path: Path) -> None:
    async with collector() as to, leader_in(tmp_path) as leader, exporting_to(leader, to) as at, leader.push() as push:
        to.answers = [Refused(Code.RESOURCE_EXHAUSTED, retry_seconds=0.7)]
        began = asyncio.get_running_loop().time()
        await whole(push, 1, lines("t", 2))
        await at.done()
        assert asyncio.get_running_loop().time() - began >= 0.7
        assert to.text("t") == lines("t", 2).decode() and to.asked == 2


async def test_partial_success_is_no_failure(tmp_path: Path) -> None:
    async with collector() as to, leader_in(tmp_path) as leader, exporting_to(leader, to) as at, leader.push() as push:
        to.answers = [Partial(4)]
        await whole(push, 1, lines("t", 10))
        await at.done()
        assert to.asked == 1
        assert at.count("rejected_records_total", code="PARTIAL") == 4
        assert at.count("records_total") == 6


async def test_after_a_kill_none_is_missing_and_those_that_come_twice_are_known(tmp_path: Path) -> None:
    data = lines("t", 500)
    async with collector() as to, leader_in(tmp_path) as leader, leader.push() as push:
        hanging = asyncio.Event()
        await push.open(open_of(1))
        async with exporting_to(leader, to, kill=True):
            await push.send(appends=[append_of(1, 0, data[:4001])])
            await to.until(lambda: len(to.taken) > 200)
            # This request is taken, and its answer never comes.
            to.before = hanging.wait
            await push.send(appends=[append_of(1, 4001, data[4001:])])
            await to.until(lambda: to.asked == 2)
        to.before = None
        hanging.set()
        await push.send(closes=[close_of(1, data)])
        await push.until(lambda: 1 in push.closed)
        async with exporting_to(leader, to) as at:
            await at.done()
        assert to.text("t") == data.decode()


async def test_while_the_collector_is_away_deletion_goes_on_and_is_counted(tmp_path: Path) -> None:
    async with collector() as to:
        address = to.address
        await to.server.stop(0)
        async with leader_in(tmp_path) as leader, exporting_to(leader, to) as at, leader.push() as push:
            await whole(push, 1, lines("gone", 100), run="old")
            await whole(push, 2, lines("kept", 3), run="new")
            await to.until(lambda: at.exporter.warnings() != [])
            assert f"{address} takes nothing: UNAVAILABLE" in at.exporter.warnings()[0]
            pool = ThreadPoolExecutor(1)
            await Deleter(leader.store, leader.ingest, at.reader.forget, pool).delete("default", "old")
            pool.shutdown()
            assert [number for number, _ in leader.store.exports.pending()] == [2]
            assert at.count("deleted_logs_total") == 1
            assert at.count("deleted_bytes_total") == len(lines("gone", 100))
            async with collector(address) as back:
                await at.done()
                assert [one.attributes["joblog.run"] for one in back.taken] == ["new"] * 3
                await back.until(lambda: at.exporter.warnings() == [])


async def test_only_the_namespaces_that_are_named(tmp_path: Path) -> None:
    globs = ("team-*",)
    async with collector() as to, leader_in(tmp_path) as leader, leader.push() as push:
        async with exporting_to(leader, to, running=False, namespaces=("*",)):
            await push.open(open_of(9, task="before", namespace="other"))
        async with exporting_to(leader, to, namespaces=globs) as at:
            await whole(push, 1, lines("t", 2), namespace="team-a", task="a")
            await whole(push, 2, lines("t", 2), namespace="other", task="b")
            await push.send(appends=[append_of(9, 0, b"x\n")])
            await at.done()
            assert {one.attributes["joblog.namespace"] for one in to.taken} == {"team-a"}


async def test_nothing_is_sent_before_the_audit_log_says_so(tmp_path: Path) -> None:
    async with (
        collector() as to,
        leader_in(tmp_path) as leader,
        exporting_to(leader, to, audit_fails=True) as at,
        leader.push() as push,
    ):
        await whole(push, 1, lines("t", 2))
        await to.until(lambda: at.exporter.warnings() != [])
        assert to.asked == 0
        at.acts.failing = False
        await at.done()
        assert (len(to.taken), len(at.acts.events)) == (2, 1)


async def test_headers_are_read_again_when_the_collector_does_not_know_them(tmp_path: Path) -> None:
    shown = ["wrong"]

    def secrets() -> Secrets:
        return Secrets((("authorization", f"Bearer {shown[0]}"),))

    async with collector() as to, leader_in(tmp_path) as leader:
        to.token = "right"
        async with exporting_to(leader, to, secrets=secrets) as at, leader.push() as push:
            await whole(push, 1, lines("t", 2))
            await to.until(lambda: at.count("failures_total", code="UNAUTHENTICATED") > 0)
            assert "wrong" not in at.exporter.warnings()[0]
            shown[0] = "right"
            await at.done()
            assert len(to.taken) == 2


async def test_the_end_of_a_line_is_waited_for_only_so_long(tmp_path: Path) -> None:
    async with (
        collector() as to,
        leader_in(tmp_path) as leader,
        exporting_to(leader, to, partial_seconds=0.1),
        leader.push() as push,
    ):
        await push.open(open_of(1))
        await push.send(appends=[append_of(1, 0, b"Password: ")])
        await to.until(lambda: len(to.taken) == 1)
        await push.send(appends=[append_of(1, 10, b"secret\n")])
        await to.until(lambda: len(to.taken) == 2)
        assert [(one.body, one.attributes.get("joblog.partial")) for one in to.taken] == [
            ("Password: ", True),
            ("secret", None),
        ]


async def test_gaps_are_told(tmp_path: Path) -> None:
    async with collector() as to, leader_in(tmp_path) as leader, exporting_to(leader, to) as at, leader.push() as push:
        await push.open(open_of(1))
        await push.send(appends=[append_of(1, 0, b"one\n")])
        gap = types_pb2.Gap(offset=4, length=100, reason=types_pb2.GAP_REASON_SPOOL_FULL)
        await push.send(appends=[ingest_pb2.Append(handle=1, offset=4, gap=gap)])
        await push.send(appends=[append_of(1, 104, b"two\n")])
        hashed = hashlib.sha256(b"one\ntwo\n").digest()
        await push.send(closes=[close_of(1, b"one\ntwo\n", length=108, sha256=hashed)])
        await push.until(lambda: 1 in push.closed or push.refusals)
        await at.done()
        one, two, three = sorted(to.taken, key=lambda each: each.key)
        assert (one.body, three.body, three.key[1]) == ("one", "two", 104)
        assert (two.event, two.body, two.key[1]) == (
            "joblog.gap",
            "100 bytes of the log are missing: spool full",
            4,
        )
        assert at.count("missing_bytes_total") == 100


async def test_positions_of_deleted_logs_do_not_come_back(tmp_path: Path) -> None:
    async with collector() as to, leader_in(tmp_path) as leader, exporting_to(leader, to, running=False):
        async with leader.push() as push:
            await push.open(open_of(1))
        exports = leader.store.exports
        ((number, exported),) = exports.pending()
        changes = Changes()
        changes.delete_log(number)
        leader.store.write(changes)
        exports.advance({number: exported})
        assert exports.pending() == []


async def test_a_drain_waits_for_the_answer(tmp_path: Path) -> None:
    async with collector() as to, leader_in(tmp_path) as leader, leader.push() as push:
        go_on = asyncio.Event()
        to.before = go_on.wait
        async with exporting_to(leader, to):
            await whole(push, 1, lines("t", 2))
            await to.until(lambda: to.asked == 1)
            asyncio.get_running_loop().call_later(0.2, go_on.set)
        assert leader.store.exports.pending() == []
        assert to.asked == 1


async def test_tls_of_both_sides(tmp_path: Path) -> None:
    ca = Authority.open(tmp_path)
    server = ca.server_pair(["127.0.0.1"], 3600)
    key = ec.generate_private_key(ec.SECP256R1())
    asked = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    issued = ca.issue(asked.public_bytes(serialization.Encoding.DER), "exporter", 3600)
    shown = [Secrets(), Secrets(ca=ca.pem), Secrets(ca=ca.pem, pair=(key_pem_of(key), issued.chain))]
    credentials = grpc.ssl_server_credentials([(server.key, server.chain)], ca.pem, require_client_auth=True)

    def secrets() -> Secrets:
        return shown.pop(0) if len(shown) > 1 else shown[0]

    async with collector("127.0.0.1:0", credentials) as to, leader_in(tmp_path / "l") as leader, leader.push() as push:
        await whole(push, 1, b"")
        async with exporting_to(leader, to, endpoint=f"https://{to.address}", secrets=secrets) as at:
            await whole(push, 2, lines("t", 2), task="t2")
            await at.done()
            assert at.count("failures_total", code="UNAVAILABLE") == 2
            assert to.text("t2") == lines("t", 2).decode()


async def test_an_audit_log_is_sent_only_where_it_is_named(tmp_path: Path) -> None:
    log = types_pb2.LogRecord(id=types_pb2.LogId(namespace="@audit"))
    assert not ExportPlan("", ("*",)).wants(log)
    assert ExportPlan("", ("*", "@audit")).wants(log)


async def test_what_the_collector_says_can_steer_no_terminal(tmp_path: Path) -> None:
    async with collector() as to, leader_in(tmp_path) as leader, exporting_to(leader, to) as at, leader.push() as push:
        to.answers = [Refused(Code.UNAVAILABLE, retry_seconds=60, message="\x1b[2J" + "x" * 2000)]
        await whole(push, 1, lines("t", 2))
        await to.until(lambda: at.exporter.warnings() != [])
        (warning,) = at.exporter.warnings()
        assert warning.isprintable() and "x1b[2J" in warning and len(warning) < 500


@pytest.mark.parametrize("seed", [1, 2])
async def test_whatever_happens_each_line_is_there(tmp_path: Path, seed: int) -> None:
    """Logs that grow by pieces of both streams, a collector that refuses at random, an exporter that is killed."""
    rng = random.Random(seed)
    print("seed", seed)
    texts = {(f"t{handle}", stream): b"" for handle in range(1, 6) for stream in (1, 2)}
    data = dict.fromkeys(range(1, 6), b"")
    async with collector() as to, leader_in(tmp_path) as leader, leader.push() as push:
        await push.open(*[open_of(handle, task=f"t{handle}") for handle in data])
        for _ in range(12):
            to.answers = [
                Refused(rng.choice([Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED, Code.PERMISSION_DENIED]))
                for _ in range(rng.randrange(3))
            ]
            kill = rng.random() < 0.5
            async with exporting_to(leader, to, kill=kill, partial_seconds=rng.choice([0.0, 60.0]), batch_bytes=500):
                for _ in range(10):
                    handle = rng.choice(list(data))
                    frames = [
                        (rng.choice([1, 2]), rng.choice([b"a", b"line\n", b"x" * 300 + b"\n", b"\n", b"half "]))
                        for _ in range(rng.randrange(1, 6))
                    ]
                    await push.send(appends=[frames_of(handle, len(data[handle]), frames)])
                    for stream, part in frames:
                        data[handle] += part
                        texts[f"t{handle}", stream] += part
                asked = to.asked
                await to.until(lambda asked=asked: to.asked > asked)  # type: ignore[misc]
        to.answers = []
        await push.send(closes=[close_of(handle, content) for handle, content in data.items()])
        await push.until(lambda: len(push.closed) == len(data))
        async with exporting_to(leader, to) as at:
            await at.done()
    found = to.texts()
    for (task, stream), text in texts.items():
        assert found.get((task, "stdout" if stream == 1 else "stderr"), "") == text.decode()
