"""What a leader knows of whom it lets in, as it has to outlive the leader's disk: its CA, tokens, certificates."""

from __future__ import annotations

import dataclasses
import json
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from joblog.errors import Corrupt, InvalidInput
from joblog.leader.access.admin_token import ADMIN_TOKEN_NAME, CREATED_BY, admin_token_in
from joblog.leader.access.authority import CA_FILE, CA_KEY_FILE, Authority
from joblog.leader.access.records import CertificateRecord, Quota, TokenRecord
from joblog.leader.access.roles import Grant
from joblog.leader.access.store import MAX_PAGE, AccessStore
from joblog.private_file import read_private

# In clear, before it is compressed: of some 100,000 workers.
MAX_BYTES = 64 << 20

T = TypeVar("T")


class AccessSnapshot(NamedTuple):
    """ca, ca_key: PEM. tokens: without when they were last used. certificates: those that have not expired.

    spool_keys: (worker's id, key in clear, since when it is kept).
    """

    ca: bytes
    ca_key: bytes
    tokens: list[TokenRecord]
    certificates: list[CertificateRecord]
    spool_keys: Sequence[tuple[str, bytes, int]] = ()

    def __repr__(self) -> str:
        return f"AccessSnapshot({len(self.tokens)} tokens, {len(self.certificates)} certificates)"


def take_snapshot(
    store: AccessStore,
    folder: Path,
    spool_keys: Iterable[tuple[str, bytes, int]] = (),
    *,
    clock: Callable[[], int] = time.time_ns,
) -> AccessSnapshot:
    """What is there now. folder: of the CA. Raises what reading raises."""
    now = clock()
    tokens = [dataclasses.replace(token, last_used_ns=0) for token in _all(store.list_tokens)]
    certificates = [one for one in _all(store.list_certificates) if one.expires_ns > now]
    # So that the same content gives the same bytes.
    tokens.sort(key=lambda token: token.id)
    certificates.sort(key=lambda one: one.serial)
    ca, ca_key = read_private(folder / CA_FILE), read_private(folder / CA_KEY_FILE)
    return AccessSnapshot(ca, ca_key, tokens, certificates, sorted(spool_keys))


def _all(page_of: Callable[[str, int], tuple[list[T], str]]) -> Iterator[T]:
    page = ""
    while True:
        records, page = page_of(page, MAX_PAGE)
        yield from records
        if not page:
            return


def restore(store: AccessStore, authority: Authority, folder: Path, found: AccessSnapshot) -> None:
    """Puts in force what another leader knew. What is known here already stays; the CA is replaced.

    Admin tokens that leaders made for themselves are revoked, but for the one whose text is in this leader's file: the
    others' files are lost, or in somebody else's hands. Can be repeated. Raises Corrupt, OutOfSpace.
    """
    now = time.time_ns()
    own = admin_token_in(folder)
    lost = {one.id for one in found.tokens if _is_leaders_own(one) and (own is None or one.id != own.id)}
    authority.replace(folder, found.ca, found.ca_key)
    # Tokens last, and with certificates at once: a store without any is one that was not restored.
    store.restore(
        [dataclasses.replace(one, revoked_ns=one.revoked_ns or now) if one.id in lost else one for one in found.tokens],
        [
            dataclasses.replace(one, revoked_ns=one.revoked_ns or now) if one.token_id in lost else one
            for one in found.certificates
        ],
    )


def _is_leaders_own(token: TokenRecord) -> bool:
    return token.name == ADMIN_TOKEN_NAME and token.created_by == CREATED_BY


def pack_snapshot(snapshot: AccessSnapshot) -> bytes:
    """The same for the same snapshot. Raises InvalidInput when it is too large."""
    document = {
        "ca": snapshot.ca.decode(),
        "ca_key": snapshot.ca_key.decode(),
        "tokens": [_token_fields(token) for token in snapshot.tokens],
        "certificates": [dataclasses.asdict(one) for one in snapshot.certificates],
        "spool_keys": [[worker_id, key.hex(), kept_ns] for worker_id, key, kept_ns in snapshot.spool_keys],
    }
    packed = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    if len(packed) > MAX_BYTES:
        raise InvalidInput(f"tokens and certificates take {len(packed)} bytes, at most {MAX_BYTES} can be archived")
    return zlib.compress(packed)


def _token_fields(token: TokenRecord) -> dict[str, Any]:
    fields = dataclasses.asdict(token)
    del fields["last_used_ns"]
    fields["grants"] = [[grant.role, list(grant.namespaces)] for grant in token.grants]
    fields["secret_hash"] = token.secret_hash.hex()
    return fields


def unpack_snapshot(data: bytes) -> AccessSnapshot:
    """What pack_snapshot() was given. Raises Corrupt."""
    inflate = zlib.decompressobj()
    try:
        clear = inflate.decompress(data, MAX_BYTES)
        if not inflate.eof or inflate.unused_data:
            raise Corrupt("what is kept of tokens and certificates is cut short, or too large")
        document = json.loads(clear)
        return AccessSnapshot(
            document["ca"].encode(),
            document["ca_key"].encode(),
            [_token(fields) for fields in document["tokens"]],
            [CertificateRecord(**fields) for fields in document["certificates"]],
            [(str(name), bytes.fromhex(key), int(kept_ns)) for name, key, kept_ns in document.get("spool_keys", [])],
        )
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Corrupt(f"what is kept of tokens and certificates can't be read: {error!r:.200}") from None


def _token(fields: dict[str, Any]) -> TokenRecord:
    return TokenRecord(
        **{
            **fields,
            "secret_hash": bytes.fromhex(fields["secret_hash"]),
            "grants": tuple(Grant(role, tuple(globs)) for role, globs in fields["grants"]),
            "quota": Quota(**fields["quota"]),
        }
    )
