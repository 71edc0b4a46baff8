"""Which life of a store counts, kept in the target: a leader that was replaced by a restored one must not go on."""

from __future__ import annotations

import hmac
import json
import logging

from joblog.errors import Conflict, Corrupt, NotFound
from joblog.leader.archive.fields import parse_document
from joblog.leader.archive.objects import PreconditionFailed, get_bounded
from joblog.leader.backup.layout import fence_key
from joblog.leader.backup.repository import Repository

log = logging.getLogger(__name__)

_MAX_BYTES = 4096
_MAC_BYTES = 32


class Replaced(Conflict):
    """Another leader goes on with this store, restored from a backup: this one must stop."""


def _mac(repository: Repository, store_id: str, incarnation: int) -> bytes:
    return repository.keys.name(f"joblog fence 1 {store_id} {incarnation}".encode())


def fenced_at(repository: Repository, store_id: str) -> int:
    """The life that the target knows of; 0 where it knows of none."""
    key = fence_key(store_id)
    try:
        fields = parse_document(get_bounded(repository.objects, key, _MAX_BYTES), key, _MAX_BYTES)
        incarnation, mac = fields.integer("incarnation"), fields.hex("mac", _MAC_BYTES)
    except NotFound:
        return 0
    except Corrupt as error:
        log.warning("%s: %s: it is passed over", repository.objects.name, error)
        return 0
    if not hmac.compare_digest(mac, _mac(repository, store_id, incarnation)):
        log.warning("%s: %s was written by somebody else, and is passed over", repository.objects.name, key)
        return 0
    return incarnation


def check_fence(repository: Repository, store_id: str, incarnation: int) -> int:
    """The life that the target knows of. Raises Replaced when that is a later one, and what the target raises."""
    there = fenced_at(repository, store_id)
    if there > incarnation:
        raise Replaced(
            f"store {store_id} was restored from a backup in {repository.objects.name} by another leader, which goes "
            "on with it: this one is of before, and must not. Remove its data folder, or restore a backup there"
        )
    return there


def keep_fence(repository: Repository, store_id: str, incarnation: int) -> None:
    """Has the target know of this life. Raises as check_fence()."""
    if check_fence(repository, store_id, incarnation) == incarnation:
        return
    key = fence_key(store_id)
    said = {"version": 1, "incarnation": incarnation, "mac": _mac(repository, store_id, incarnation).hex()}
    data = json.dumps(said).encode() + b"\n"
    info = repository.objects.head(key)
    try:
        repository.objects.put(key, data, if_absent=info is None, if_match=info and info.etag)
    except PreconditionFailed:
        if fenced_at(repository, store_id) != incarnation:
            raise
