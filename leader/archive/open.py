"""Opens the object store that an archive's URL names."""

from __future__ import annotations

from joblog.errors import InvalidInput
from joblog.leader.archive.folder import FolderStore
from joblog.leader.archive.limited import LimitedStore
from joblog.leader.archive.metered import MeteredStore, Observer
from joblog.leader.archive.objects import ObjectStore
from joblog.leader.archive.options import ArchiveOptions, parse_url
from joblog.leader.archive.retrying import RetryingStore

_FOLDER_REQUESTS_AT_ONCE = 32


def open_store(options: ArchiveOptions, observer: Observer | None = None) -> ObjectStore:
    """The store, with retries and limits; nothing is asked of it yet. observer: told of each request, also repeated.

    Raises InvalidInput, also where boto3 is not installed.
    """
    place = parse_url(options.url)
    if place.folder is not None:
        store: ObjectStore = FolderStore(place.folder, create=options.create_bucket)
        at_once = _FOLDER_REQUESTS_AT_ONCE
    else:
        try:
            from joblog.leader.archive.s3 import S3Store
        except ModuleNotFoundError as error:
            if error.name not in ("boto3", "botocore", "urllib3"):
                raise
            raise InvalidInput("an archive in S3 needs boto3: install joblog[s3]") from None
        store = S3Store(place.bucket, place.prefix, options.s3)
        at_once = options.s3.max_connections
    return RetryingStore(LimitedStore(MeteredStore(store, observer), at_once), options.retry_seconds)
