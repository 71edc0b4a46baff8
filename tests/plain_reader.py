"""Reads a sealed log with nothing of joblog: written from docs/format.md alone, to show that the page is enough.

python plain_reader.py log.joblog DEK_IN_HEX
python plain_reader.py log.joblog kek.key metadata.json [_keys/ID.json]
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC_TABLE = crc_table()


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def check(fine: bool, what: str) -> None:
    if not fine:
        raise ValueError(what)


def inflate(packed: bytes, size: int) -> bytes:
    check(zstandard.frame_content_size(packed) == size, "a zstd frame has another size")
    return zstandard.ZstdDecompressor().decompress(packed, max_output_size=size)


def open_dek(kek: bytes, metadata: dict[str, dict[str, str]], store_key_object: dict[str, str]) -> bytes:
    """Sections Keys and Store key: KEK, store key, DEK."""
    key = metadata["key"]
    check(store_key_object.get("store_key_id", key["store_key_id"]) == key["store_key_id"], "another store key")
    record = base64.b64decode(store_key_object.get("record", key["store_key"]))
    check(record[0] in (1, 2), "unknown version of a store key's record")
    rest, size = record[1:], record[0]
    for _ in range(size + 1):
        rest = rest[size + int.from_bytes(rest[:size], "big") :]
    if record[0] == 2:
        rest = rest[20:]
    kek_id = hashlib.sha256(b"joblog kek id" + kek).digest()[:8]
    check(rest[0] == 1 and rest[1:9] == kek_id, "wrapped with another key")
    context = {"key": key["store_key_id"], "purpose": "joblog store key", "store": key["store_id"]}
    packed = b"".join(struct.pack(">I", len(text)) + text.encode() for item in sorted(context.items()) for text in item)
    store_key = AESGCM(kek).decrypt(rest[9:21], rest[21:], b"joblog file kms 1" + packed)
    dek = base64.b64decode(key["dek"])
    check(dek[0] == 1 and dek[1:17].hex() == key["store_key_id"], "the DEK was wrapped by another store key")
    uid = bytes.fromhex(str(metadata["uid"]))
    return AESGCM(store_key).decrypt(dek[17:29], dek[29:], b"joblog dek" + uid)


def read_index(data: bytes) -> tuple[bytes, list[tuple[int, ...]]]:
    """Sections Footer and Index: uid, and for each chunk position, offset, length, raw length, lines, time, kind."""
    check(data[:8] == b"JLARCH1\n" and data[-8:] == b"JLARCEND", "no archive object, or cut short")
    footer = data[-72:-12]
    check(crc32c(footer) == int.from_bytes(data[-12:-8], "big"), "damaged footer")
    position, length, logs, chunks, kind, version = struct.unpack(">QIIIBB", footer[:22])
    check((logs, kind, version) == (1, 3, 1), "no sealed log of version 1")
    check(position + length + 72 == len(data), "the footer is another object's")
    packed = data[position : position + length]
    check(hashlib.sha256(packed).digest() == footer[22:54], "damaged index")
    raw = inflate(packed, 20 + 45 * chunks)
    columns, at = [], 20
    for letter in "QIQQQQB":
        size = struct.calcsize(letter)
        columns.append(struct.unpack(f">{chunks}{letter}", raw[at : at + chunks * size]))
        at += chunks * size
    entries, at = [], 8
    for entry in zip(*columns, strict=True):
        entries.append((at, *entry))
        at += entry[1]
    check(at == position, "the records do not fill the object")
    return raw[:16], entries


def read_chunks(data: bytes, dek: bytes) -> Iterator[tuple[int, int, bytes | None]]:
    """Sections Container and Chunk: (offset, length, bytes), None for the bytes of a gap."""
    uid, entries = read_index(data)
    for position, offset, length, raw_length, *_ in entries:
        record = data[position : position + length]
        crc = int.from_bytes(record[12:16], "big")
        check(record[:12] == struct.pack(">IQ", length, offset), "a record is not the index's")
        check(crc32c(record[:12] + record[16:]) == crc, "damaged record")
        header, body = record[16:56], record[56:]
        version, kind, codec, _, size, _, _, crc, frames_length = struct.unpack(">BBHIQQQII", header)
        check(version == 1 and size == raw_length, "unknown version of a chunk, or another one than the index's")
        if kind == 2:
            yield offset, raw_length, None
            continue
        associated = b"joblog chunk 1" + uid + struct.pack(">Q", offset) + header
        payload = AESGCM(dek).decrypt(body[:12], body[12:], associated)[frames_length:]
        raw = inflate(payload, raw_length) if codec == 2 else payload
        check(len(raw) == raw_length and crc32c(raw) == crc, "a chunk's bytes are not those that it says")
        yield offset, raw_length, raw


def main(arguments: list[str]) -> None:
    data = Path(arguments[0]).read_bytes()
    if len(arguments) == 2:
        dek = bytes.fromhex(arguments[1])
    else:
        documents = [json.loads(Path(argument).read_text("utf-8")) for argument in arguments[2:]]
        dek = open_dek(Path(arguments[1]).read_bytes(), *documents, *([{}] if len(documents) == 1 else []))
    end = 0
    for offset, length, raw in read_chunks(data, dek):
        if offset > end or raw is None:
            print(f"missing: offsets {end} to {offset if raw else offset + length}", file=sys.stderr)
        sys.stdout.buffer.write(raw or b"")
        end = offset + length


if __name__ == "__main__":
    main(sys.argv[1:])
