"""What the commands of `joblog archive` need of the leader: its settings, the object store, the KMS, the store."""

from __future__ import annotations

import json
import os
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from joblog import paths
from joblog.address import own_token
from joblog.cli.daemons import collect_flags
from joblog.cli.output import progress_console
from joblog.errors import InvalidInput
from joblog.settings import load

if TYPE_CHECKING:
    from joblog.leader.archive.cost import Counted
    from joblog.leader.archive.foreign_reader import ForeignReader
    from joblog.leader.archive.objects import ObjectStore
    from joblog.leader.buffer.store import Store
    from joblog.leader.crypto.keyring import DescribedKeys, Keyring
    from joblog.leader.crypto.kms import Kms
    from joblog.leader.crypto.store_key_record import DescribedKey
    from joblog.leader.settings import LeaderSettings
    from joblog.leader.settings_kms import SettingsKms

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        help="The archive: s3://BUCKET/PREFIX or file:///FOLDER. Without it: archive.url in the leader's settings.",
    ),
]


Recovery = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FILE",
        help="A recovery file, as `joblog keys export` writes it, for logs whose keys open with nothing else.",
        exists=True,
        dir_okay=False,
    ),
]
PASSPHRASE_VARIABLE = "JOBLOG_RECOVERY_PASSPHRASE"  # noqa: S105 - the name of a variable


def recovery_passphrase() -> str:
    """The passphrase of a recovery file. Raises InvalidInput when it is not given."""
    found = os.environ.get(PASSPHRASE_VARIABLE, "")
    if not found:
        raise InvalidInput(f"the recovery file's passphrase is needed: set {PASSPHRASE_VARIABLE}")
    return found


class RecoveryFile(NamedTuple):
    """What a recovery file holds. kms: opens what is under the file's own passphrase; None where nothing is."""

    keys: list[DescribedKey]
    kms: Kms | None

    def copies(self, key_id: bytes) -> list[DescribedKey]:
        """The file's copy of a store key, where it has one."""
        return [key for key in self.keys if key.key_id == key_id]


def read_recovery(file: Path) -> RecoveryFile:
    """Raises Corrupt, WrongVersion, InvalidInput when its passphrase is needed and not given."""
    from joblog.leader.recovery import RecoveryKms, is_under_passphrase, parse_recovery

    keys = parse_recovery(file.read_bytes(), str(file))
    return RecoveryFile(keys, RecoveryKms(recovery_passphrase()) if is_under_passphrase(keys) else None)


class ArchiveAccess:
    """The leader's settings, with which everything else is opened when it is needed."""

    def __init__(
        self, url: str | None, config: Path | None, assignments: list[str] | None, data_dir: Path | None
    ) -> None:
        from joblog.leader.settings import LeaderSettings

        self._flags = flags = collect_flags(assignments, {"data_dir": data_dir, "archive.url": url})
        self._file = file = paths.config_file("leader", config, os.environ)
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

    def foreign(self) -> ForeignReader:
        """Reads the text of adopted logs, in the places of adoption.sources."""
        from joblog.leader.archive.foreign_open import open_foreign

        return open_foreign(self.settings.adoption.options())

    def counted(self) -> Counted | None:
        """What the leader of the data folder has counted of its requests; None where none runs, or it does not tell."""
        from joblog.leader.archive.cost import parse_counted

        try:
            said = json.loads(self.folder.leader_file.read_text())
            trusted = ssl.create_default_context(cadata=said.get("ca") or None)
            request = urllib.request.Request(f"{said['http_url'].rstrip('/')}/metrics")  # noqa: S310 - http or https
            request.add_header("Authorization", f"Bearer {own_token(self.folder.root)}")
            with urllib.request.urlopen(request, timeout=5, context=trusted) as reply:  # noqa: S310
                return parse_counted(reply.read().decode(), time.time())
        except (OSError, ValueError, KeyError):
            return None

    def kms(self) -> Kms:
        """The KMS with the KEK that is there; none is made. Raises NotFound, Denied."""
        source = self.source()
        return source.open(source.describe())

    def source(self) -> SettingsKms:
        """Opens KMSes with the settings in force."""
        from joblog.leader.settings import keys_settings
        from joblog.leader.settings_kms import SettingsKms

        load_keys = partial(keys_settings, self._flags, self._file, os.environ)
        return SettingsKms(load_keys, self.folder.kek_file, os.environ)

    def keys(self, objects: ObjectStore, recovery: Path | None) -> DescribedKeys:
        """Opens the keys of the archive's logs: with the KMS, the archive's store keys, and those of a recovery file.

        Raises NotFound, Denied, Corrupt.
        """
        from joblog.leader.archive.key_objects import archive_keys
        from joblog.leader.crypto.known_kms import KnownKms

        if recovery is None:
            return archive_keys(objects, self.kms())
        found = read_recovery(recovery)
        if found.kms is None:
            return archive_keys(objects, self.kms(), found.copies)
        # What the file holds opens by itself: the KMS that is set is asked for the rest alone, and may be gone.
        return archive_keys(objects, KnownKms(found.kms, open_former=self._set_kms), found.copies)

    def _set_kms(self, name: str, key_id: str) -> Kms | None:
        kms = self.kms()
        return kms if (kms.name, kms.key_id) == (name, key_id) else None

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

    @contextmanager
    def restoring(
        self, objects: ObjectStore, keys: DescribedKeys, keyring: Keyring, records: Store
    ) -> Iterator[Callable[[], bool]]:
        """What puts the CA, tokens, certificates and spool keys that the archive keeps into the data folder.

        Raises Corrupt, WrongVersion for a folder of those that is damaged.
        """
        from joblog.leader.access.authority import Authority
        from joblog.leader.access.store import AccessStore
        from joblog.leader.archived_access import AccessRestorer
        from joblog.leader.ingest.spool_keys import SpoolKeys

        paths.make_folder(self.folder.access)
        store = AccessStore(self.folder.access_store)
        try:
            authority, spool_keys = Authority.open(self.folder.access), SpoolKeys(records, keyring.store_keys)
            restorer = AccessRestorer(store, authority, self.folder.access, spool_keys)
            yield lambda: restorer.restore(objects, keys)
        finally:
            store.close()

    @contextmanager
    def catalog(self, command: str) -> Iterator[Store]:
        """The store of the leader that has the archive, for what tells needed objects from others by it.

        Raises Conflict or NotFound that say what to do.
        """
        from joblog.errors import Conflict, NotFound

        needs = (
            f"`joblog archive {command}` needs the catalog of the leader that has the archive: stop that leader, and "
            "run it on its machine with its --data-dir"
        )
        try:
            opened = self.store()
            store = opened.__enter__()
        except Conflict as error:
            raise Conflict(f"{needs} ({error})") from None
        except NotFound as error:
            raise NotFound(f"{needs} ({error})") from None
        try:
            yield store
        finally:
            opened.__exit__(None, None, None)


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
