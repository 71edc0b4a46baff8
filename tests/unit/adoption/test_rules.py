"""Rules over keys, and what metadata of older systems says. Both may come from anybody."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joblog.errors import Corrupt, InvalidInput
from joblog.identity import check_labels, check_log_name, check_name
from joblog.leader.adoption.facts import FactRules, NotOver, parse_time
from joblog.leader.adoption.rule import Rule, to_name
from joblog.v1 import types_pb2
from tests.adopting import RULE

PLAIN = FactRules({}, {})


@pytest.mark.parametrize(
    ("rule", "names", "key", "said"),
    [
        (RULE, {}, "ns/build/api/j1/logs.txt", ("ns:j1/api/1", {"jobType": "build"}, "ns/build/api/j1/metadata.json")),
        (
            RULE,
            {},
            "ns/build/api/j1/logs.txt.gz",
            ("ns:j1/api/1", {"jobType": "build"}, "ns/build/api/j1/metadata.json"),
        ),
        (
            RULE,
            {"run": "{jobName}", "task": "{jobType}-{serviceName}"},
            "ns/build/api/j1/logs.txt",
            ("ns:j1/build-api/1", {}, "ns/build/api/j1/metadata.json"),
        ),
        ("{run}.log", {}, "a.b.log", ("default:a.b/main/1", {}, "metadata.json")),
        ("{day}/{run}-{attempt}.log", {"namespace": "old"}, "d/r-x-2.log", ("old:r-x/d/2", {}, "d/metadata.json")),
        ("{namespace}/{run}/{task}/{attempt}/x", {}, "n/r/t/007/x", ("n:r/t/7", {}, "n/r/t/007/metadata.json")),
        ("{run}/x", {}, "a b/x", ("default:a=20b/main/1", {}, "a b/metadata.json")),
        ("{run}/x", {}, "ä=/x", ("default:=C3=A4=3D/main/1", {}, "ä=/metadata.json")),
        ("{namespace}/{run}/x", {}, "@audit/r/x", ("=40audit:r/main/1", {}, "@audit/r/metadata.json")),
    ],
)
def test_what_a_rule_says(rule: str, names: dict[str, str], key: str, said: tuple[str, dict[str, str], str]) -> None:
    found = Rule(rule, names).match(key)
    assert found is not None
    assert (str(found.name), found.labels, found.metadata_key) == said


def test_what_lies_beside_a_log_may_be_called_as_it_is() -> None:
    found = Rule("{run}/{task}.log", {}, "{task}.json").match("r/t.log")
    assert found is not None
    assert found.metadata_key == "r/t.json"
    found = Rule("{run}/{task}.log", {}, "-").match("r/t.log")
    assert found is not None
    assert found.metadata_key == ""


def test_keys_that_a_rule_does_not_name() -> None:
    rule = Rule(RULE)
    for key in (
        "ns/build/api/logs.txt",
        "ns/build/api/j1/x/logs.txt",
        "ns/build/api/j1/logs.txt.bz2",
        "x",
        "",
        "a/b/c/one.log",
        "a//b/c/d/logs.txt",
    ):
        assert rule.match(key) is None


@pytest.mark.parametrize(
    ("rule", "names", "why"),
    [
        ("", {}, "is none"),
        ("/{run}/x", {}, "is none"),
        ("{run}/{run}/x", {}, "twice"),
        ("logs.txt", {}, "no part that tells the run"),
        ("{run/x", {}, "in braces"),
        ("{r n}/x", {}, "in braces"),
        ("{run}/x", {"task": "{other}"}, "no part {other}"),
        ("{run}/" + "x" * 1000, {}, "at most 1000"),
        ("".join(f"{{p{n}}}/" for n in range(33)) + "x", {}, "at most 32"),
    ],
)
def test_rules_that_are_refused(rule: str, names: dict[str, str], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        Rule(rule, names)


@pytest.mark.parametrize("key", ["n/r/t/0/x", "n/r/t/99999999999/x", f"n/{'r' * 251}/t/1/x"])
def test_names_that_no_log_can_have(key: str) -> None:
    with pytest.raises(InvalidInput):
        Rule("{namespace}/{run}/{task}/{attempt}/x").match(key)


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=40))
def test_any_text_becomes_a_name_of_its_own(text: str) -> None:
    name = to_name(text)
    assert check_name("run", name) == name
    if name != text:
        quoted = text.encode(errors="surrogateescape") if not any("\ud800" <= c <= "\udfff" for c in text) else None
        parts = name.split("=")
        plain = parts[0].encode() + b"".join(bytes.fromhex(part[:2]) + part[2:].encode() for part in parts[1:])
        assert quoted is None or plain == quoted


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab/{}._-é \n", max_size=40))
def test_any_key_gives_a_valid_name_or_none(key: str) -> None:
    try:
        found = Rule("{namespace}/{run}-{task}").match(key)
    except InvalidInput:
        return
    if found is not None:
        check_log_name(found.name)
        check_labels(found.labels)


@pytest.mark.parametrize(
    ("said", "kind", "code"),
    [
        ({"exitCode": 3}, types_pb2.OUTCOME_KIND_EXITED, 3),
        ({"exit_code": "0", "status": "FAILED"}, types_pb2.OUTCOME_KIND_EXITED, 0),
        ({"status": {"exitCode": 2}}, types_pb2.OUTCOME_KIND_EXITED, 2),
        ({"status": "Completed"}, types_pb2.OUTCOME_KIND_EXITED, 0),
        ({"state": "failed"}, types_pb2.OUTCOME_KIND_UNSPECIFIED, 0),
        ({"phase": "Evicted"}, types_pb2.OUTCOME_KIND_EVICTED, 0),
        ({"result": "timed-out", "rc": 124}, types_pb2.OUTCOME_KIND_TIMED_OUT, 124),
        ({"conclusion": "something"}, types_pb2.OUTCOME_KIND_UNSPECIFIED, 0),
        ({}, types_pb2.OUTCOME_KIND_UNSPECIFIED, 0),
    ],
)
def test_how_a_task_ended(said: dict[str, Any], kind: int, code: int) -> None:
    outcome = PLAIN.read(json.dumps(said).encode()).outcome
    assert (outcome.kind, outcome.exit_code) == (kind, code)


def test_fields_and_words_can_be_told() -> None:
    rules = FactRules({"exit_code": "result.deep.code", "status": "colour"}, {"GREEN": "succeeded"}, "succeeded")
    assert rules.read(b'{"result": {"deep": {"code": 7}}}').outcome.exit_code == 7
    assert rules.read(b'{"colour": "green"}').outcome.kind == types_pb2.OUTCOME_KIND_EXITED
    assert rules.nothing().outcome.kind == types_pb2.OUTCOME_KIND_EXITED
    with pytest.raises(NotOver):
        PLAIN.read(b'{"status": "Running"}')
    with pytest.raises(InvalidInput, match="not one that means anything"):
        FactRules({"nonsense": "x"}, {})
    with pytest.raises(InvalidInput, match="can't mean"):
        FactRules({}, {"x": "nonsense"})
    with pytest.raises(InvalidInput, match="succeeded, or nothing"):
        FactRules({}, {}, "failed")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-31T12:00:00Z", 1769860800),
        ("2026-01-31 13:00:00+01:00", 1769860800),
        ("2026-01-31T12:00:00.123456789Z", 1769860800.123456),
        (1769860800, 1769860800),
        (1769860800.5, 1769860800.5),
        ("1769860800123", 1769860800.123),
        (1769860800123456, 1769860800.123456),
        (1769860800123456789, 1769860800.123456789),
    ],
)
def test_times(text: str | float, seconds: float) -> None:
    assert abs(parse_time(text, "ended") / 1e9 - seconds) < 1e-5


@pytest.mark.parametrize(
    "text", ["", "soon", "9999-01-01", "1969-12-31T00:00:00Z", "-5", "9" * 30, "0", "0001-01-01T00:00:00+23:59"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(Corrupt):
        parse_time(text, "ended")


HOSTILE = [
    b"",
    b"[]",
    b"null",
    b"\xff\xfe",
    b'{"a": NaN}',
    b'{"a":' * 2000 + b"1" + b"}" * 2000,
    json.dumps({f"f{n}": n for n in range(1001)}).encode(),
    b'{"exitCode": 1e400}',
    b'{"exitCode": 99999999999999999999999999999999999999999999999999}',
    b'{"exitCode": 1.5}',
    b'{"signal": "KILL"}',
]


@pytest.mark.parametrize("data", HOSTILE)
def test_metadata_that_can_not_be_used(data: bytes) -> None:
    with pytest.raises(Corrupt):
        PLAIN.read(data)


def test_what_means_nothing_becomes_labels_or_is_kept_beside() -> None:
    said = {
        "exitCode": 0,
        "exit_code": 1,
        "spec": {"image": "a:1", "args": ["x", 1]},
        "bad name!": "ev\x1b[31mil",
        "long": "x" * 5000,
        "flag": True,
        "half \ud800": "\udfff",
        "host": "h\ud800",
        "command": ["make", "all"],
        "labels": {"a/b": "c", "jobType": "mine"},
    }
    facts = PLAIN.read(json.dumps(said).encode())
    assert facts.labels == {
        "a.b": "c",
        "jobType": "mine",
        "exit_code": "1",
        "spec.image": "a:1",
        "bad=20name=21": "ev?[31mil",
        "flag": "true",
        "half=20=ED=A0=80": "?",
    }
    assert json.loads(facts.rest) == {"spec.args": ["x", 1], "long": "x" * 5000}
    assert (facts.host, list(facts.command)) == ("h?", ["make", "all"])
    check_labels(dict(facts.labels))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
KNOWN = st.sampled_from(
    ["exitCode", "status", "startTime", "endTime", "host", "message", "labels", "command", "signal"]
)


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(KNOWN | st.text(max_size=10), JSON, max_size=8))
def test_any_metadata_gives_facts_that_can_be_kept_or_is_refused(said: dict[str, Any]) -> None:
    try:
        facts = PLAIN.read(json.dumps(said).encode())
    except (Corrupt, NotOver):
        return
    check_labels(dict(facts.labels))
    record = types_pb2.LogRecord(outcome=facts.outcome)
    record.start.labels.update(facts.labels)
    record.start.host = facts.host
    record.start.command.extend(facts.command)
    assert types_pb2.LogRecord.FromString(record.SerializeToString()) == record
