"""Older versions of objects in a bucket that keeps them: what was deleted is gone only with the last of them."""

from __future__ import annotations

import datetime as dt
import logging
import os.path
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from joblog.errors import Denied, Unavailable
from joblog.leader.archive.objects import MAX_DELETES
from joblog.leader.archive.s3_errors import PASSING, code_of, translated

if TYPE_CHECKING:
    from joblog.leader.archive.s3 import S3Store

log = logging.getLogger(__name__)

# What servers say that know no versions.
_NONE = frozenset({"NotImplemented", "MethodNotAllowed"})
_LATER_SECONDS = 86_400
_GONE = frozenset({"NoSuchKey", "NoSuchVersion"})


def has_versions(store: S3Store) -> bool:
    """Whether the bucket keeps versions, or has kept some. A server that does not tell is taken not to."""
    try:
        with translated(store.name, store) as client:
            try:
                reply = client.get_bucket_versioning(Bucket=store.bucket)
            except client.exceptions.ClientError as error:
                if code_of(error) in _NONE:
                    return False
                raise
    except Denied as error:
        log.warning("%s: whether it keeps versions of what is deleted can't be asked: %s", store.name, error)
        return False
    return bool(reply.get("Status"))


def purge_versions(store: S3Store, keys: Sequence[str], lock_days: int) -> dict[str, int]:
    """As ObjectStore.purge(). lock_days: how long new objects are locked.

    Raises Unavailable when the server failed to delete some, once all others are deleted.
    """
    wanted = {store.full_key(key): key for key in keys}
    found = [version for group in _groups(sorted(wanted)) for version in _versions(store, group)]
    mine = [(version, is_marker) for version, is_marker in found if version["Key"] in wanted]
    kept: dict[str, int] = {}
    for version in _refused(store, [version for version, is_marker in mine if not is_marker]):
        until = version["LastModified"] + dt.timedelta(days=lock_days)
        later = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=_LATER_SECONDS)
        key = wanted[version["Key"]]
        kept[key] = max(kept.get(key, 0), int(max(until, later).timestamp() * 1e9))
    # As long as a version is left, its marker hides it.
    markers = [version for version, is_marker in mine if is_marker and wanted[version["Key"]] not in kept]
    for version in _refused(store, markers):
        log.warning("%s: the marker of a deleted object is not deleted: %s", store.name, version["Key"])
    return kept


def _groups(keys: Sequence[str]) -> Iterator[list[str]]:
    """Keys that lie close together: a list of versions that holds the first and the last of them is worth it."""
    for _, group in groupby(keys, key=lambda key: key.rsplit("/", 3)[0]):
        yield list(group)


def _versions(store: S3Store, keys: Sequence[str]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Versions from the first to the last of the keys, and whether each is a delete marker."""
    last = keys[-1]
    # A marker to begin at would spare some more; moto finds no delete markers behind one.
    prefix = os.path.commonpath([keys[0], last])
    fields: dict[str, Any] = {}
    while True:
        with translated(store.name, store) as client:
            reply = client.list_object_versions(Bucket=store.bucket, Prefix=prefix, **fields)
        for name, is_marker in (("Versions", False), ("DeleteMarkers", True)):
            yield from ((version, is_marker) for version in reply.get(name, []))
        if not reply.get("IsTruncated") or reply["NextKeyMarker"] > last:
            return
        fields = {"KeyMarker": reply["NextKeyMarker"], "VersionIdMarker": reply.get("NextVersionIdMarker", "")}


def _refused(store: S3Store, versions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Deletes the versions; gives those that are kept. Raises Unavailable for what failed in passing."""
    kept: list[dict[str, Any]] = []
    failed: list[dict[str, Any]] = []
    for begin in range(0, len(versions), MAX_DELETES):
        some = versions[begin : begin + MAX_DELETES]
        entries = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in some]
        with translated(store.name, store) as client:
            reply = client.delete_objects(Bucket=store.bucket, Delete={"Objects": entries, "Quiet": True})
        errors = [error for error in reply.get("Errors", []) if error.get("Code") not in _GONE]
        passing = [error for error in errors if error.get("Code") in PASSING]
        # Whatever else is said, such as that it is locked, will be said again.
        refused = {(error.get("Key"), error.get("VersionId")) for error in errors if error not in passing}
        kept += [one for one in some if (one["Key"], one["VersionId"]) in refused]
        failed += passing
    if failed:
        first = failed[0]
        raise Unavailable(
            f"{store.name}: {len(failed)} old versions were not deleted, {first.get('Key')}: {first.get('Code')}"
        )
    return kept
