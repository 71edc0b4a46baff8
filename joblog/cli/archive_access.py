"""What the commands of `joblog archive` need of the leader: its settings, the object store, the KMS, the store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from joblog import paths
from joblog.cli.daemons import collect_flags
from joblog.cli.output import progress_console
from joblog.errors import InvalidInput
from joblog.settings import load

if TYPE_CHECKING:
    from joblog.leader.archive.objects import ObjectStore
    from joblog.leader.buffer.store import Store
    from joblog.leader.crypto.kms import Kms
    from joblog.leader.settings import LeaderSettings

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The archive: s3://BUCKET/PREFIX or file:///FOLDER. Without it: archive.url in the leader's settings.",
    ),
]


class ArchiveAccess:
    """The leader's settings, with which everything else is opened when it is needed."""

    def __init__(
        self, url: str | None, config: Path | None, assignments: list[str] | None, data_dir: Path | None
    ) -> None:
        from joblog.leader.settings import LeaderSettings

        flags = collect_flags(assignments, {"data_dir": data_dir, "archive.url": url})
        file = paths.config_file("leader", config, os.environ)
        self.settings: LeaderSettings = load(LeaderSettings, file=file, environ=os.environ, flags=flags).values
        self.folder = paths.DataFolder(paths.data_dir(self.settings.data_dir, os.environ))

    @contextmanager
    def objects(self) -> Iterator[ObjectStore]:
        """The object store. Raises InvalidInput when none is set."""
        from joblog.leader.archive.open import open_store

        if not self.settings.archive.url:
            raise InvalidInput("no archive is set: give --url, or set archive.url (JOBLOG_ARCHIVE_URL)")
        store = open_store(self.settings.archive.options())
        try:
            yield store
        finally:
            store.close()

    def kms(self) -> Kms:
        """The KMS with the KEK that is there; none is made. Raises NotFound, Denied."""
        from joblog.leader.crypto.providers import open_kms

        keys = self.settings.keys
        return open_kms(keys.description(self.folder.kek_file), keys.secrets(os.environ))

    @contextmanager
    def store(self, *, create: bool = False) -> Iterator[Store]:
        """The leader's own store. Raises Conflict when a leader runs, NotFound when there is none."""
        from joblog.errors import NotFound
        from joblog.leader.buffer.store import Store

        if create:
            paths.make_folder(self.folder.root)
            paths.make_folder(self.folder.leader)
        elif not self.folder.store.is_dir():
            raise NotFound(f"{self.folder.store}: there is no leader's store: give its folder by --data-dir")
        store = Store.open(self.folder.store)
        try:
            yield store
        finally:
            store.close()


def count_progress() -> Progress:
    """A progress bar over a number of things on stderr, which is there on a terminal only."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=progress_console,
        transient=True,
        disable=not os.isatty(2),
    )
