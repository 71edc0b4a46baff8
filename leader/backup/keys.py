"""The keys of a backup target: one random key, and what is derived from it for names, pieces and manifests."""

from __future__ import annotations

from os import urandom

from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from joblog.errors import Corrupt

BACKUP_KEY_BYTES = 32
NONCE_BYTES, TAG_BYTES = 12, 16
# Between two slices other threads get the interpreter's lock.
_SLICE_BYTES = 1 << 20


class BackupKeys:
    """What names, seals and opens the objects of one target. Thread-safe."""

    def __init__(self, key: bytes) -> None:
        self._name_key = _derive(key, b"names")
        self._piece_key = _derive(key, b"pieces")
        self._manifest_key = _derive(key, b"manifests")

    def __repr__(self) -> str:
        return "BackupKeys()"

    def name(self, data: bytes | bytearray | memoryview) -> bytes:
        """The id of a piece with this content: to who lacks the key it tells nothing, not even of known content."""
        mac = blake3(key=self._name_key)
        view = memoryview(data)
        for at in range(0, view.nbytes, _SLICE_BYTES):
            mac.update(view[at : at + _SLICE_BYTES])
        return mac.digest()

    def seal_piece(self, data: bytes | bytearray | memoryview, bound: bytes) -> tuple[bytes, bytearray]:
        """(nonce, ciphertext and tag), bound to `bound`."""
        return _seal(self._piece_key, data, bound)

    def open_piece(self, nonce: bytes, sealed: bytes | memoryview, bound: bytes) -> bytearray:
        """What seal_piece() was given. Raises Corrupt."""
        return _open(self._piece_key, nonce, sealed, bound)

    def seal_manifest(self, data: bytes, bound: bytes) -> bytes:
        """Nonce, ciphertext and tag, bound to `bound`."""
        nonce, sealed = _seal(self._manifest_key, data, bound)
        return nonce + bytes(sealed)

    def open_manifest(self, sealed: bytes, bound: bytes) -> bytes:
        """What seal_manifest() was given. Raises Corrupt."""
        return bytes(_open(self._manifest_key, sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound))


def _derive(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, None, b"joblog backup 1 " + purpose).derive(key)


def _seal(key: bytes, data: bytes | bytearray | memoryview, bound: bytes) -> tuple[bytes, bytearray]:
    nonce = urandom(NONCE_BYTES)
    encryptor = Cipher(algorithms.AES(key), modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(bound)
    view = memoryview(data)
    sealed = bytearray(view.nbytes + TAG_BYTES)
    # A context manager: an exported view would keep the array from being cut.
    with memoryview(sealed) as out:
        for at in range(0, view.nbytes, _SLICE_BYTES):
            part = view[at : at + _SLICE_BYTES]
            encryptor.update_into(part, out[at : at + part.nbytes])
        encryptor.finalize()
        out[view.nbytes :] = encryptor.tag
    return nonce, sealed


def _open(key: bytes, nonce: bytes, sealed: bytes | memoryview, bound: bytes) -> bytearray:
    view = memoryview(sealed)
    if view.nbytes < TAG_BYTES or len(nonce) != NONCE_BYTES:
        raise Corrupt("it is cut short")
    length = view.nbytes - TAG_BYTES
    decryptor = Cipher(algorithms.AES(key), modes.GCM(nonce, bytes(view[length:]))).decryptor()
    decryptor.authenticate_additional_data(bound)
    data = bytearray(length)
    with memoryview(data) as out:
        for at in range(0, length, _SLICE_BYTES):
            end = min(at + _SLICE_BYTES, length)
            decryptor.update_into(view[at:end], out[at:end])
    try:
        decryptor.finalize()
    except InvalidTag:
        raise Corrupt("it was changed, or is of another target") from None
    return data
