"""All namespaces, runs and logs of a store, page by page: for who copes with what changes meanwhile."""

from __future__ import annotations

from collections.abc import Iterator

from joblog.leader.buffer.catalog import EVERY_RUN, RunFilter
from joblog.leader.buffer.store import Store
from joblog.v1.types_pb2 import LogRecord, RunRecord

_PAGE = 500


def every_log(store: Store) -> Iterator[LogRecord]:
    """Every log, by namespace; runs newest first."""
    for namespace in every_namespace(store):
        for run in runs_of(store, namespace):
            yield from logs_of_run(store, namespace, run.run)


def every_namespace(store: Store) -> Iterator[str]:
    """Every namespace with at least one run, by name."""
    after = ""
    while namespaces := store.list_namespaces(after, _PAGE):
        yield from namespaces
        after = namespaces[-1]


def runs_of(store: Store, namespace: str, where: RunFilter = EVERY_RUN) -> Iterator[RunRecord]:
    """The runs of a namespace that the filter lets through, newest first."""
    page = ""
    while True:
        runs, page = store.list_runs(namespace, where, page, _PAGE)
        yield from runs
        if not page:
            return


def logs_of_run(store: Store, namespace: str, run: str, task: str = "") -> Iterator[LogRecord]:
    """Every log of a run, by task and attempt; with `task`, those of that task."""
    page = ""
    while True:
        logs, page = store.list_logs(namespace, run, task, page, _PAGE)
        yield from logs
        if not page:
            return
