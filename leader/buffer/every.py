"""All logs of a store, page by page: for who changes nothing meanwhile, or copes with what changes."""

from __future__ import annotations

from collections.abc import Iterator

from joblog.leader.buffer.store import Store
from joblog.v1.types_pb2 import LogRecord

_PAGE = 500


def every_log(store: Store) -> Iterator[LogRecord]:
    """Every log, by namespace; runs newest first."""
    after = ""
    while namespaces := store.list_namespaces(after, _PAGE):
        for namespace in namespaces:
            page = ""
            while True:
                runs, page = store.list_runs(namespace, page_token=page, limit=_PAGE)
                for run in runs:
                    yield from logs_of_run(store, namespace, run.run)
                if not page:
                    break
        after = namespaces[-1]


def logs_of_run(store: Store, namespace: str, run: str) -> Iterator[LogRecord]:
    """Every log of a run, by task and attempt."""
    page = ""
    while True:
        logs, page = store.list_logs(namespace, run, page_token=page, limit=_PAGE)
        yield from logs
        if not page:
            return
