"""Objects that are not joblog's own: logs of older systems, which it reads where they lie.

Nothing here writes or deletes: a ForeignSource has no way to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from joblog.errors import Denied, InvalidInput, NotFound, Unavailable
from joblog.leader.archive.objects import ObjectInfo
from joblog.leader.archive.options import parse_url

# In a gzip file's name, and how such a file begins.
GZIP_SUFFIX = ".gz"


class ForeignInfo(NamedTuple):
    """A foreign object as it is now. etag: changes with every write. version_id: "" where no versions are kept.

    gzip: its bytes are to be inflated.
    """

    key: str
    size: int
    etag: str
    modified_ns: int
    version_id: str = ""
    gzip: bool = False


class ForeignSource(Protocol):
    """A bucket's prefix or a folder of somebody else's. Thread-safe. Every implementation passes one test suite.

    Raises Unavailable also where a listing or a read is not allowed, or bucket or folder are not there.
    """

    @property
    def url(self) -> str:
        """Where it is, without a slash at the end; a key of it is this, a slash and the key."""
        ...

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> tuple[Sequence[ObjectInfo], bool]:
        """As ObjectStore.list(); with the etags that look() gives."""
        ...

    def look(self, key: str) -> ForeignInfo:
        """The object as it is now. Raises NotFound; InvalidInput for a key that it can't have."""
        ...

    def get(self, info: ForeignInfo, start: int, length: int) -> bytes:
        """A range of just this object. Raises SourceChanged when it is another one by now, or is not there."""
        ...

    def close(self) -> None:
        """Ends connections."""
        ...


def plain_url(url: str) -> str:
    """A source's or archive's URL with nothing escaped and no slash at its end. Raises InvalidInput."""
    folder, bucket, prefix = parse_url(url)
    return f"file://{folder}" if folder is not None else f"s3://{bucket}/{prefix}".rstrip("/")


def check_source(url: str) -> str:
    """As plain_url(); raises InvalidInput, which repeats nothing of the URL, unless it can be a source."""
    try:
        return plain_url(url)
    except InvalidInput as error:
        raise InvalidInput(str(error).replace("an archive", "a source")) from None


def is_below(url: str, other: str) -> bool:
    """Whether `url` is `other`, or lies below it; both as plain_url() gives them."""
    return url == other or url.startswith(other + "/")


def find_source(sources: Sequence[ForeignSource], url: str) -> tuple[ForeignSource, str]:
    """The source in which `url` (as plain_url() gives it, or an object's) lies, and its key there.

    Raises InvalidInput where there is none.
    """
    for source in sorted(sources, key=lambda one: -len(one.url)):
        if is_below(url, source.url):
            return source, url[len(source.url) + 1 :]
    known = ", ".join(source.url for source in sources) or "none is set"
    raise InvalidInput(f"{url} is in none of the places that this leader adopts from (adoption.sources): {known}")


def unreachable(url: str, error: Denied | NotFound) -> Unavailable:
    """What it means for a reader of a log that the leader may not read the source, or that it is not there at all."""
    return Unavailable(f"{url} can't be read by the leader: {error}")
