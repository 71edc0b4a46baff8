"""Every method of every service with mutated and made-up messages, against real servicers: a status, never INTERNAL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from joblog.batch import STDOUT
from joblog.identity import LogName
from joblog.v1 import ingest_pb2
from tests.e2e.api_server import Api, api_in
from tests.e2e.push_stream import append_of, batch_of, close_of, leader_in, open_of
from tests.e2e.test_access_table import methods, request_for, short_name
from tests.fuzz.mutation import EXAMPLES

EACH = max(10, EXAMPLES // 3)
TEXTS = ["", "r", "t", "default", "..", "a/b", "@audit", "\0", "\u202e", "x" * 5000, "é", "0" * 400, "(a+)+$", "["]
NUMBERS = [0, 1, 2, 9, 255, 2**16, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1, -1, -(2**31), -(2**63)]
BINARY = [b"", b"\0", b"w" * 16, b"\xff" * 64, bytes(70_000)]
# What ends a call that was asked badly; INTERNAL and UNKNOWN are errors of the leader's own.
_CODES = grpc.StatusCode
WRONG = {_CODES.INTERNAL, _CODES.UNKNOWN, _CODES.DEADLINE_EXCEEDED, _CODES.DATA_LOSS}


def fill(message: Any, rng: random.Random, depth: int = 0) -> None:
    """Some fields get values that are well-formed on the wire and mostly make no sense."""
    for field in message.DESCRIPTOR.fields:
        if rng.random() < 0.5:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)[rng.choice(TEXTS)] = rng.choice(TEXTS)
        elif field.message_type is not None:
            if depth < 3:
                target = getattr(message, field.name)
                fill(target.add() if field.is_repeated else _set(target), rng, depth + 1)
        elif field.is_repeated:
            getattr(message, field.name).extend(_value(field, rng) for _ in range(rng.randint(0, 3)))
        else:
            setattr(message, field.name, _value(field, rng))


def _set(message: Message) -> Message:
    message.SetInParent()
    return message


_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64),
    FieldDescriptor.CPPTYPE_ENUM: (-(2**31), 2**31),
}


def _value(field: FieldDescriptor, rng: random.Random) -> Any:
    kind = field.cpp_type
    if kind == FieldDescriptor.CPPTYPE_BOOL:
        return rng.random() < 0.5
    if kind in (FieldDescriptor.CPPTYPE_FLOAT, FieldDescriptor.CPPTYPE_DOUBLE):
        return rng.choice([0.0, -1.0, 1e300, float("inf"), float("nan"), 0.001])
    if kind == FieldDescriptor.CPPTYPE_STRING:
        return rng.choice(BINARY) if field.type == FieldDescriptor.TYPE_BYTES else rng.choice(TEXTS)
    low, high = _RANGES[kind]
    return rng.choice([number for number in NUMBERS if low <= number < high])


def requests_of(descriptor: Descriptor, method: Any, rng: random.Random) -> bytes:
    """Made up, or one that would be taken with bytes changed, cut or doubled."""
    if rng.random() < 0.6:
        message: Any = message_factory.GetMessageClass(descriptor)()
        fill(message, rng)
        if rng.random() < 0.5 and "id" in descriptor.fields_by_name and descriptor.fields_by_name["id"].message_type:
            message.id.namespace, message.id.run, message.id.task, message.id.attempt = "default", "r", "t", 1
        return bytes(message.SerializeToString())
    data = bytearray(request_for(method, "default").SerializeToString() or b"\x0a\x01x")
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data) + 1)
        data[at : at + rng.randint(0, 2)] = rng.randbytes(rng.randint(0, 4))
        data = data or bytearray(b"\x0a")
    return bytes(data)


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_in(tmp_path) as api:
        log = api.stored.log(LogName("default", "r", "t", 1))
        log.append((STDOUT, b"a line\n" * 100))
        log.gap(10, 1)
        log.complete()
        yield api


async def _ask(api: Api, method: Any, data: bytes) -> grpc.StatusCode:
    path = f"/{method.containing_service.full_name}/{method.name}"
    make: Any = api.channel.unary_stream if method.server_streaming else api.channel.unary_unary
    call = make(path, lambda message: message, lambda reply: reply)(data, timeout=10)
    try:
        if method.server_streaming:
            async with asyncio.timeout(2):
                while isinstance(await call.read(), bytes):
                    pass
        else:
            await call
    except TimeoutError:
        return grpc.StatusCode.OK  # a tail of a live log waits
    except grpc.aio.AioRpcError as error:
        return error.code()
    finally:
        call.cancel()
    return grpc.StatusCode.OK


async def test_any_message(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(1)
    asked = 0
    for method in methods():
        if method.client_streaming or method.containing_service.name in ("Ingest", "Keys"):
            continue
        for _ in range(EACH):
            data = requests_of(method.input_type, method, rng)
            code = await _ask(api, method, data)
            # What is no message at all never reaches a method: gRPC itself answers.
            if code in WRONG and _parses(method, data):
                raise AssertionError((short_name(method), code, data[:300], caplog.text[-3000:]))
            asked += 1
    assert asked > 10 * EACH
    assert not [record for record in caplog.records if record.name.startswith("joblog") and record.exc_info]


def _parses(method: Any, data: bytes) -> bool:
    try:
        message_factory.GetMessageClass(method.input_type).FromString(data)
    except Exception:
        return False
    return True


async def test_any_message_of_a_worker(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Streams that begin as they should and go on as they should not; what another one writes meanwhile is kept."""
    rng = random.Random(13)
    good = b"good line\n" * 10
    async with leader_in(tmp_path) as leader, leader.push("good") as other:
        await other.open(open_of(1, run="good"))
        for turn in range(EACH):
            async with leader.push(f"w{turn}") as push:
                await push.open(open_of(1))
                for _ in range(3):
                    request = ingest_pb2.PushRequest()
                    if rng.random() < 0.5:
                        request.appends.append(append_of(1, 0, good))
                        request.closes.append(close_of(1, good))
                        batch = request.appends[0].batch
                        batch.CopyFrom(batch_of(good))
                        fill(rng.choice([batch, request.appends[0], request.closes[0]]), rng)
                    else:
                        fill(request, rng)
                    await push.call.write(request)
                code = await _end(push)
                assert code not in WRONG, (code, caplog.text[-3000:])
            await other.send(appends=[append_of(1, turn * len(good), good)])
        await other.send(closes=[close_of(1, good * EACH)])
        await other.until(lambda: other.closed)
        assert leader.stored(other.opened[1].number) == good * EACH
    assert not [record for record in caplog.records if record.exc_info]


async def _end(push: Any) -> grpc.StatusCode:
    try:
        await push.call.done_writing()
        async with asyncio.timeout(10):
            while isinstance(await push.call.read(), ingest_pb2.PushResponse):
                pass
        code: grpc.StatusCode = await push.call.code()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
        code = error.code() if isinstance(error, grpc.aio.AioRpcError) else await push.call.code()
    return code
