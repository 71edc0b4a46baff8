"""Which KMS is the present one, noted among a store's keys: the settings may be from before the keys were moved."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from joblog.errors import Corrupt, JoblogError
from joblog.leader.crypto.kms import Kms
from joblog.leader.crypto.kms_options import KINDS, KmsDescription
from joblog.leader.crypto.known_kms import KnownKms
from joblog.leader.crypto.store_keys import KeyRecords

log = logging.getLogger(__name__)

_PRESENT = b"kms/present"
_FORMER = b"kms/former/"
_CURRENT = b"current"
_NO_SETTINGS: Mapping[str, str] = {}


class KmsSource(Protocol):
    """Opens KMSes, with the secrets that are at hand."""

    def describe(self, settings: Mapping[str, str] = _NO_SETTINGS) -> KmsDescription:
        """The KMS that is set, with these settings below `keys.` over all others. Raises InvalidSettings."""
        ...

    def open(
        self, description: KmsDescription, settings: Mapping[str, str] = _NO_SETTINGS, *, create: bool = False
    ) -> Kms:
        """That KMS. settings: below `keys.`, where secrets may be among them. create: a key may be made there.

        Raises InvalidSettings that says what has to be set, NotFound, Denied, Unavailable.
        """
        ...


class Opened(NamedTuple):
    """warning: what is to be set other than it is; "" where nothing is."""

    kms: KnownKms
    warning: str


class _Remembered(NamedTuple):
    name: str
    key_id: str
    description: KmsDescription

    def pack(self) -> bytes:
        return json.dumps({"name": self.name, "key_id": self.key_id, "kms": self.description.to_json()}).encode()


def open_present(records: KeyRecords, source: KmsSource) -> Opened:
    """The KMS that the store was moved to last, else the one that is set. Raises as KmsSource.open()."""
    remembered = _read(records, _PRESENT)
    asked = source.describe()
    former = _Former(records, source)
    if remembered is None:
        kms = source.open(asked, create=records.get_key(_CURRENT) is None)
        return Opened(KnownKms(kms, open_former=former), "")
    if asked.kind == remembered.description.kind:
        is_set = _try(source, asked)
        if is_set is not None and (is_set.name, is_set.key_id) == (remembered.name, remembered.key_id):
            return Opened(KnownKms(is_set, open_former=former), "")
    advice = (
        f"the store's keys were moved to another KMS than the one that is set ({settings_text(asked)}): "
        f"set {settings_text(remembered.description)}"
    )
    try:
        kms = source.open(remembered.description)
    except JoblogError as error:
        raise type(error)(f"{advice}; with what is set now it can't be opened: {error}") from error
    return Opened(KnownKms(kms, open_former=former), advice)


def remember(records: KeyRecords, former: _Remembered | None, kms: Kms, description: KmsDescription) -> None:
    """Notes that `kms` is the present one from now on, and how the one before it is opened."""
    present = _Remembered(kms.name, kms.key_id, description)
    for one in (former, present):
        if one is not None:
            records.put_key(_former_name(one.name, one.key_id), one.pack())
    records.put_key(_PRESENT, present.pack())


def present_now(records: KeyRecords, source: KmsSource, kms: Kms) -> _Remembered:
    """How `kms`, the present one, is opened."""
    remembered = _read(records, _PRESENT)
    if remembered is not None and (remembered.name, remembered.key_id) == (kms.name, kms.key_id):
        return remembered
    return _Remembered(kms.name, kms.key_id, source.describe())


def settings_of(description: KmsDescription) -> dict[str, str]:
    """The settings below `keys.` that describe it, those that are not as they are by themselves."""
    if description.kind == "file":
        return {"kind": "file", "file": str(description.parameters["path"])}
    known = KINDS[description.kind]
    usual = {name: field.default for name, field in known.__dataclass_fields__.items()}
    set_ones = {name: value for name, value in description.parameters.items() if usual.get(name) != value}
    return {"kind": description.kind, **{f"{description.kind}.{name}": str(v) for name, v in set_ones.items()}}


def settings_text(description: KmsDescription) -> str:
    """The same as a text for people."""
    return ", ".join(f"keys.{name} = {value!r}" for name, value in settings_of(description).items())


def _try(source: KmsSource, description: KmsDescription) -> Kms | None:
    try:
        return source.open(description)
    except JoblogError as error:
        log.debug("the KMS that is set can't be opened: %s", error)
        return None


class _Former:
    """Opens a KMS that was the present one before, or one that is set and was not moved to."""

    def __init__(self, records: KeyRecords, source: KmsSource) -> None:
        self._records = records
        self._source = source

    def __call__(self, name: str, key_id: str) -> Kms | None:
        asked = self._source.describe()
        is_set = _try(self._source, asked) if asked.kind == name else None
        if is_set is not None and (is_set.name, is_set.key_id) == (name, key_id):
            return is_set
        known = _read(self._records, _former_name(name, key_id))
        if known is None:
            return None
        kms = self._source.open(known.description)
        return kms if (kms.name, kms.key_id) == (name, key_id) else None


def _former_name(name: str, key_id: str) -> bytes:
    return _FORMER + f"{name}\0{key_id}".encode()


def _read(records: KeyRecords, name: bytes) -> _Remembered | None:
    data = records.get_key(name)
    if not data:
        return None
    try:
        found = json.loads(data)
        return _Remembered(str(found["name"]), str(found["key_id"]), KmsDescription.from_json(found["kms"]))
    except (ValueError, KeyError, TypeError):
        raise Corrupt(f"the store's record {name.decode(errors='replace')} is damaged; restore a backup") from None
