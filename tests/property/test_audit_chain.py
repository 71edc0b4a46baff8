"""The chain of the audit log: whatever is changed, removed, put in or moved before its end is found."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from joblog.leader.access.audit import AuditEvent
from joblog.leader.access.audit_chain import verify_chain
from joblog.leader.access.audit_line import BEGIN, MAX_LINE_BYTES, Head, canonical, head_of, make_line, parse_line
from joblog.leader.access.principal import Principal

TEXTS = st.text(max_size=30)
EVENTS = st.builds(
    AuditEvent,
    action=st.sampled_from(["log.read", "log.delete", "login"]),
    principal=st.none() | st.builds(Principal, kind=st.just("token"), name=TEXTS, id=TEXTS),
    outcome=st.sampled_from(["ok", "refused"]),
    subject=TEXTS,
    peer=TEXTS,
    detail=st.dictionaries(TEXTS, TEXTS, max_size=3),
)


def chain_of(logs: list[list[AuditEvent]]) -> list[bytes]:
    """The lines of some logs, one after the other, without newlines."""
    head = Head()
    lines: list[bytes] = []
    for number, events in enumerate(logs, 1):
        path = f"2026-11/audit/{number}"
        begin = AuditEvent(BEGIN, None, "ok", detail={"log": path, "after": head.log})
        for event in [begin, *events]:
            line = make_line(event, 1_700_000_000_000_000_000 + len(lines), head)
            head = head_of(line, path)
            lines.append(line.removesuffix(b"\n"))
    return lines


CHAINS = (
    st.lists(st.lists(EVENTS, max_size=4), min_size=1, max_size=3).map(chain_of).filter(lambda lines: len(lines) > 2)
)


@given(CHAINS)
def test_a_chain_as_it_was_written_is_sound(lines: list[bytes]) -> None:
    verdict = verify_chain(lines, [verify_chain(lines[:2]).head.sha256])
    assert verdict.sound, verdict.problems
    assert verdict.good_through == verdict.head.sequence == verdict.lines == len(lines)
    assert len(verdict.anchors_found) == 1


@given(CHAINS, st.data())
def test_a_changed_byte_is_found(lines: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(lines) - 2))
    line = bytearray(lines[at])
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] ^= data.draw(st.integers(1, 255))
    verdict = verify_chain([*lines[:at], bytes(line), *lines[at + 1 :]])
    assert not verdict.sound
    assert verdict.good_through <= at + 1


@given(CHAINS, st.data())
def test_a_line_written_anew_is_found(lines: list[bytes], data: st.DataObject) -> None:
    """By somebody who knows the format, and does not write all that follows anew."""
    at = data.draw(st.integers(0, len(lines) - 2))
    record: dict[str, Any] = json.loads(lines[at])
    field = data.draw(st.sampled_from(["peer", "subject", "time", "outcome"]))
    record[field] = data.draw(TEXTS)
    forged = canonical(record)
    assume(forged != lines[at])
    assert not verify_chain([*lines[:at], forged, *lines[at + 1 :]]).sound


@given(CHAINS, st.data())
def test_a_line_that_is_gone_is_found(lines: list[bytes], data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(lines) - 2))
    end = data.draw(st.integers(begin + 1, len(lines) - 1))
    assert not verify_chain([*lines[:begin], *lines[end:]]).sound


@given(CHAINS, EVENTS, st.data())
def test_a_line_that_was_put_in_is_found(lines: list[bytes], event: AuditEvent, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(lines) - 1))
    after = head_of(lines[at - 1], "x")
    forged = data.draw(
        st.sampled_from(
            [make_line(event, 1, after), make_line(event, 1, after._replace(sequence=1)), *lines, b"", b"{}"]
        )
    )
    assert not verify_chain([*lines[:at], forged.removesuffix(b"\n"), *lines[at:]]).sound


@given(CHAINS, st.data())
def test_lines_in_another_order_are_found(lines: list[bytes], data: st.DataObject) -> None:
    moved = data.draw(st.permutations(lines))
    assume(moved != lines)
    assert not verify_chain(moved).sound


@given(CHAINS, st.data())
def test_an_end_that_is_gone_is_found_by_an_anchor_alone(lines: list[bytes], data: st.DataObject) -> None:
    anchor = verify_chain(lines).head.sha256
    kept = lines[: data.draw(st.integers(1, len(lines) - 1))]
    verdict = verify_chain(kept, [anchor])
    assert verdict.sound
    assert not verdict.anchors_found


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text(), max_size=30), st.integers(1, 10**9))
def test_hostile_texts_stay_within_a_line(name: str, subject: str, detail: dict[str, str], count: int) -> None:
    many = 1000
    event = AuditEvent("login", Principal("token", name * many, name), "refused", subject * many, subject, detail)
    line = make_line(event, 1, Head(), count=count)
    assert len(line) <= MAX_LINE_BYTES
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert all(0x20 <= byte < 0x7F for byte in line[:-1])
    assert parse_line(line)["count"] == count


@given(st.text(alphabet="abcdef0123456789-_", min_size=20, max_size=60))
def test_a_token_loses_its_secret(secret: str) -> None:
    shown = make_line(
        AuditEvent(
            "login",
            None,
            "refused",
            f"with jl1.abcdefghijkl.{secret}.fp.addr",
            detail={"authorization": f"Bearer {secret}"},
        ),
        1,
        Head(),
    )
    # The line of zeros is the hash of what was before the first line.
    assert secret.encode() not in shown.replace(Head().sha256.encode(), b"")
    assert b"jl1.abcdefghijkl.***" in shown
