"""Policies against a simple model: whatever the runs, policies, quotas and holds, a pass deletes what that says."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from joblog.leader.buffer.changes import Changes
from joblog.leader.buffer.options import MIB, StoreOptions
from joblog.leader.buffer.store import Store
from joblog.leader.retention.policy import Policies
from joblog.leader.retention.sweep import Sweep
from joblog.v1 import types_pb2
from joblog.v1.retention_pb2 import Hold
from joblog.v1.types_pb2 import LogId, LogRecord, Outcome, TaskStart
from tests.examples import examples

OPTIONS = StoreOptions(write_buffers_bytes=MIB, cache_bytes=MIB)
HOUR = 3600 * 10**9
NOW = 1000 * HOUR
LIVE, COMPLETED, INTERRUPTED = types_pb2.LOG_STATE_LIVE, types_pb2.LOG_STATE_COMPLETED, types_pb2.LOG_STATE_INTERRUPTED


class Run(NamedTuple):
    """One run of the model. logs: state, exit code, bytes of each. hours: ago that it ended."""

    namespace: str
    name: str
    kind: str
    hours: int
    logs: tuple[tuple[int, int, int], ...]

    @property
    def state(self) -> str:
        states = {state for state, _, _ in self.logs}
        if LIVE in states:
            return "live"
        if INTERRUPTED in states:
            return "interrupted"
        return "failed" if any(code for _, code, _ in self.logs) else "succeeded"

    @property
    def bytes(self) -> int:
        return sum(size for state, _, size in self.logs if state == COMPLETED)


class Rule(NamedTuple):
    """A policy of the model."""

    namespace: str
    kind: str
    outcome: str
    keep_hours: int
    keep_last: int

    @property
    def text(self) -> str:
        words = [self.namespace]
        words += [f"label=kind={self.kind}"] if self.kind else []
        words += [f"outcome={self.outcome}"] if self.outcome else []
        kept = [f"keep={self.keep_hours}h"] if self.keep_hours else []
        kept += [f"keep_last={self.keep_last}"] if self.keep_last else []
        return f"{' '.join(words)}: {' '.join(kept) or 'keep=forever'}"

    def names(self, run: Run) -> bool:
        outcomes = {self.outcome} if self.outcome else {"failed", "succeeded"}
        return self.namespace in ("*", run.namespace) and self.kind in ("", "*", run.kind) and run.state in outcomes


NAMESPACES, KINDS = ["a", "a.b"], ["x", "y"]
LOG = st.tuples(
    st.sampled_from([LIVE, COMPLETED, COMPLETED, COMPLETED, COMPLETED, INTERRUPTED]),
    st.sampled_from([0, 0, 1]),
    st.sampled_from([0, 10, 100]),
)
RUN = st.tuples(
    st.sampled_from(NAMESPACES), st.sampled_from(KINDS), st.integers(0, 6), st.lists(LOG, min_size=1, max_size=3)
)
RULE = st.builds(
    Rule,
    st.sampled_from(["*", *NAMESPACES]),
    st.sampled_from(["", "*", *KINDS]),
    st.sampled_from(["", "failed", "succeeded", "interrupted"]),
    st.integers(0, 5),
    st.integers(0, 3),
).filter(lambda rule: rule.outcome != "interrupted" or not rule.keep_last)


def put(store: Store, run: Run, order: int, first_task: int = 0) -> None:
    changes = Changes()
    for task, (state, code, size) in enumerate(run.logs, first_task):
        number = store.next_number()
        changes.put_log(
            LogRecord(
                id=LogId(namespace=run.namespace, run=run.name, task=f"t{task}", attempt=1),
                uid=number.to_bytes(16, "big"),
                number=number,
                writer_id=number.to_bytes(16, "big"),
                state=state,  # type: ignore[arg-type]
                created_ns=NOW - 100 * HOUR + order,
                completed_ns=NOW - run.hours * HOUR if state == COMPLETED else 0,
                last_append_ns=NOW - run.hours * HOUR,
                stored_bytes=size if state == COMPLETED else 0,
                start=TaskStart(labels={"kind": run.kind}),
                outcome=Outcome(kind=types_pb2.OUTCOME_KIND_EXITED, exit_code=code),
            )
        )
    store.write(changes, sync=False)


def expected(runs: Sequence[Run], rules: Sequence[Rule], quota: int, held: set[str]) -> set[str]:
    """Which runs are to go, the plain way; `runs` in the order in which they were created."""
    gone: set[str] = set()
    named = {run.name: next((rule for rule in rules if rule.names(run)), None) for run in runs}
    for run in runs:
        rule = named[run.name]
        if rule is None or not (rule.keep_hours or rule.keep_last):
            continue
        past = run.hours >= rule.keep_hours
        group = [
            other.name
            for other in runs
            if named[other.name] is not None
            and named[other.name] == rule
            and rules.index(rule) == next(at for at, one in enumerate(rules) if one.names(other))
            and other.namespace == run.namespace
            and (not rule.kind or other.kind == run.kind)
        ]
        overtaken = not rule.keep_last or run.name not in group[-rule.keep_last :]
        if past and overtaken:
            gone.add(run.name)
    gone -= held
    for namespace in NAMESPACES:
        ended = [run for run in runs if run.namespace == namespace and run.state in ("failed", "succeeded")]
        left = sum(run.bytes for run in ended if run.name not in gone)
        # Of those that ended at the same time, the one whose name is greater goes first.
        for run in sorted(ended, key=lambda run: (-run.hours, _descending(run.name))):
            if quota and left > quota and run.bytes and run.name not in gone | held:
                gone.add(run.name)
                left -= run.bytes
    return gone


def _descending(name: str) -> tuple[int, ...]:
    return tuple(-ord(character) for character in name)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck))
@given(
    made=st.lists(RUN, max_size=14),
    rules=st.lists(RULE, max_size=4, unique_by=lambda rule: rule.text),
    quota=st.sampled_from([0, 0, 50, 150]),
    held=st.sets(st.integers(0, 13), max_size=3),
    held_kind=st.sampled_from(["", "", "", "x"]),
    size=st.integers(1, 5),
)
def test_what_is_due(
    *,
    made: list[tuple[str, str, int, list[tuple[int, int, int]]]],
    rules: list[Rule],
    quota: int,
    held: set[int],
    held_kind: str,
    size: int,
) -> None:
    runs = [
        Run(namespace, f"r{at:02}", kind, hours, tuple(logs)) for at, (namespace, kind, hours, logs) in enumerate(made)
    ]
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(Path(folder) / "store", options=OPTIONS)
        try:
            for order, run in enumerate(runs):
                put(store, run, order)
            names = {runs[at].name for at in held if at < len(runs)}
            for run in runs:
                if run.name in names:
                    store.holds.set(Hold(namespace=run.namespace, run=run.name))
            if held_kind:
                store.holds.set(Hold(label="kind", value=held_kind))
                names |= {run.name for run in runs if run.kind == held_kind}
            policies = Policies.parse([rule.text for rule in rules], [f"*: {quota}"] if quota else [])
            wanted = expected(runs, rules, quota, names)

            found = list(itertools.chain(*Sweep(store, policies, NOW).slices(size)))
            assert sorted(due.run.run for due in found if not due.is_held) == sorted(wanted)
            assert {due.run.run for due in found if due.is_held} <= names

            # Deleted slice by slice, a few logs at a time, it comes to the same.
            for slice_ in Sweep(store, policies, NOW).slices(size):
                left = [due.run for due in slice_]
                while left:
                    left = list(store.expiry.expire(left, size).left)
            assert {run.run for _, run in store.expiry.runs()} == {run.name for run in runs} - wanted
            assert store.expiry.begun() == []
        finally:
            store.close()


def test_an_interrupted_run_that_is_due_frees_nothing_of_the_quota(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store", options=OPTIONS)
    try:
        put(store, Run("a", "r0", "x", 6, ((COMPLETED, 0, 100), (INTERRUPTED, 0, 0))), 0)
        put(store, Run("a", "r1", "x", 6, ((COMPLETED, 0, 100),)), 1)
        put(store, Run("a", "r2", "x", 5, ((COMPLETED, 0, 100),)), 2)
        sweep = Sweep(store, Policies.parse(["* outcome=interrupted: keep=1h"], ["*: 150"]), NOW)
        assert [due.run.run for due in itertools.chain(*sweep.slices(10))] == ["r0", "r1"]
    finally:
        store.close()


@pytest.mark.parametrize("now_it_is", [LIVE, COMPLETED])
def test_a_run_that_goes_on_after_it_was_met_is_for_the_next_sweep(tmp_path: Path, now_it_is: int) -> None:
    store = Store.open(tmp_path / "store", options=OPTIONS)
    try:
        first, second = (Run("a", name, "x", 6, ((COMPLETED, 0, 10),)) for name in ("r0", "r1"))
        put(store, first, 0)
        put(store, second, 1)
        slices = Sweep(store, Policies.parse(["*: keep=1h keep_last=1"], ()), NOW).slices(1)
        assert next(slices) == []
        put(store, first._replace(hours=0, logs=((now_it_is, 0, 10),)), 2, first_task=1)
        assert list(itertools.chain(*slices)) == []
    finally:
        store.close()
