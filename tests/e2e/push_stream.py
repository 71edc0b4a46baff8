"""A worker's end of a Push stream, in the hands of a test, and the leader's end with a real store behind it."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import google_crc32c
import grpc.aio

from joblog.address import read_leader_file, trust_for
from joblog.batch import STDOUT, Frames, deflate, open_payload, pack_frames
from joblog.channel import client_options, open_async_channel, server_options
from joblog.leader.api.gate import Gate
from joblog.leader.api.grpc_gate import GrpcGate
from joblog.leader.buffer.store import Store
from joblog.leader.crypto.envelope import LogCipher
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.keyring import Keyring
from joblog.leader.ingest.deaths import DeathRules
from joblog.leader.ingest.ingest import Ingest, IngestLimits
from joblog.leader.ingest.quotas import Quotas
from joblog.leader.metrics import Metrics
from joblog.v1 import ingest_pb2, ingest_pb2_grpc, types_pb2

# How long a machine that is busy otherwise may take.
LONG_SECONDS = 60.0


def batch_of(data: bytes, time_ns: int = 1_700_000_000_000_000_000) -> types_pb2.Batch:
    """A well-formed batch of one frame."""
    codec, payload = deflate(data)
    return types_pb2.Batch(
        raw_length=len(data),
        codec=codec,  # type: ignore[arg-type]
        payload=payload,
        crc32c=google_crc32c.value(data),
        newlines=data.count(b"\n"),
        first_time_ns=time_ns,
        frames=pack_frames(Frames(bytes([STDOUT]), [0], [len(data)])),
    )


def append_of(handle: int, offset: int, data: bytes) -> ingest_pb2.Append:
    """A well-formed append."""
    return ingest_pb2.Append(handle=handle, offset=offset, batch=batch_of(data))


def open_of(handle: int, run: str = "r", task: str = "t", **fields: Any) -> ingest_pb2.OpenLog:
    """An open of a log of its own writer, unless fields say otherwise."""
    identity = types_pb2.LogId(
        namespace=fields.pop("namespace", "default"), run=run, task=task, attempt=fields.pop("attempt", 0)
    )
    fields.setdefault("writer_id", os.urandom(16))
    return ingest_pb2.OpenLog(handle=handle, id=identity, **fields)


def close_of(handle: int, data: bytes, **fields: Any) -> ingest_pb2.CloseLog:
    """A close of a log that holds just `data`."""
    said: dict[str, Any] = {
        "length": len(data),
        "sha256": hashlib.sha256(data).digest(),
        "newlines": data.count(b"\n"),
        "outcome": types_pb2.Outcome(kind=types_pb2.OUTCOME_KIND_EXITED),
    }
    return ingest_pb2.CloseLog(handle=handle, **(said | fields))


class Push:
    """A stream to a leader. What comes back is gathered by kind and handle."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.welcome = ingest_pb2.Welcome()
        self.opened: dict[int, ingest_pb2.Opened] = {}
        self.acks: dict[int, int] = {}
        self.archived: dict[int, int] = {}
        self.sealed: set[int] = set()
        self.refusals: list[ingest_pb2.Refusal] = []
        self.closed: dict[int, ingest_pb2.Closed] = {}
        self.steers: list[ingest_pb2.Steer] = []
        self.resends: list[ingest_pb2.Resend] = []

    async def hello(self, worker_id: str = "w1", **fields: Any) -> None:
        """Says hello and takes the welcome."""
        await self.send(hello=ingest_pb2.Hello(worker_id=worker_id, host="h", version="0", protocol=1, **fields))
        await self.until(lambda: self.welcome.leader_id != "")

    async def send(self, **fields: Any) -> None:
        """Sends one message."""
        await self.call.write(ingest_pb2.PushRequest(**fields))

    async def receive(self) -> bool:
        """Takes one message in; False at the stream's end."""
        response = await self.call.read()
        if not isinstance(response, ingest_pb2.PushResponse):
            return False
        if response.HasField("welcome"):
            self.welcome = response.welcome
        self.opened.update({one.handle: one for one in response.opened})
        self.acks.update({ack.handle: ack.stored_offset for ack in response.acks})
        self.archived.update({ack.handle: ack.archived_offset for ack in response.acks})
        self.sealed.update(ack.handle for ack in response.acks if ack.sealed)
        self.refusals.extend(response.refusals)
        self.closed.update({one.handle: one for one in response.closed})
        self.steers.extend(response.steers)
        self.resends.extend(response.resends)
        return True

    async def until(self, condition: Any) -> None:
        """Takes messages in until the condition holds."""
        async with asyncio.timeout(LONG_SECONDS):
            while not condition():
                assert await self.receive(), "the stream ended"

    async def open(self, *opens: ingest_pb2.OpenLog) -> None:
        """Opens logs and waits until the leader has opened them."""
        await self.send(opens=list(opens))
        await self.until(lambda: all(one.handle in self.opened for one in opens))

    async def refusal(self, **fields: Any) -> ingest_pb2.Refusal:
        """Sends a message, of which something must be refused; the refusal."""
        self.refusals.clear()
        await self.send(**fields)
        await self.until(lambda: self.refusals)
        return self.refusals[0]

    async def end(self) -> None:
        """Ends the stream and takes in what is left."""
        await self.call.done_writing()
        async with asyncio.timeout(LONG_SECONDS):
            while await self.receive():
                pass


@asynccontextmanager
async def push_to(address: str, metadata: Any = None) -> AsyncIterator[Push]:
    """A stream to the leader at an address, on which nothing was said yet."""
    options = [*client_options(address), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        stub = ingest_pb2_grpc.IngestStub(channel)  # type: ignore[no-untyped-call]
        yield Push(stub.Push(metadata=metadata))


@asynccontextmanager
async def push_to_process(data_dir: Path) -> AsyncIterator[Push]:
    """A stream to the leader that runs as a process in a data folder, as its own user opens it."""
    address = read_leader_file(data_dir).grpc_address
    channel = open_async_channel(address, trust_for(address, data_dir, None, {}))
    async with channel:
        stub = ingest_pb2_grpc.IngestStub(channel)  # type: ignore[no-untyped-call]
        yield Push(stub.Push())


class Leader:
    """Store, ingest and gRPC server in this process."""

    def __init__(self, store: Store, keyring: Keyring, ingest: Ingest, address: str) -> None:
        self.store = store
        self.keyring = keyring
        self.ingest = ingest
        self.address = address

    @asynccontextmanager
    async def push(self, worker_id: str = "w1", metadata: Any = None) -> AsyncIterator[Push]:
        """A stream that has said hello."""
        async with push_to(self.address, metadata) as push:
            await push.hello(worker_id)
            yield push

    @asynccontextmanager
    async def raw_push(self) -> AsyncIterator[Push]:
        """A stream on which nothing was said yet, and that does not keep to the limit of a message's size."""
        async with push_to(self.address) as push:
            yield push

    def stored(self, number: int) -> bytes:
        """The bytes of a log, straight from the store; gaps are left out."""
        record = self.store.get_log(number)
        wrapped = self.store.get_dek(number)
        assert record is not None and wrapped is not None
        cipher = LogCipher(self.keyring.open_dek(record.uid, wrapped), record.uid)
        found = b""
        with self.store.view() as view:
            for offset, header, sealed in view.chunks(number, 0):
                if sealed:
                    plain = cipher.open(header.pack(), offset, sealed)
                    payload = plain[header.frames_length :]
                    found += open_payload(header.codec, payload, header.raw_length, header.crc32c)
        return found


@asynccontextmanager
async def leader_in(
    folder: Path,
    gate: Gate | None = None,
    quotas: Quotas | None = None,
    deaths: DeathRules | None = None,
    **limits: Any,
) -> AsyncIterator[Leader]:
    """A leader on the store in `folder`, on any free port, until the block ends. gate: the default lets all in."""
    folder.mkdir(exist_ok=True)
    store = Store.open(folder / "store")
    try:
        keyring = Keyring.open(store, FileKms(folder / "kek.key"), store.store_id)
        ingest = Ingest(store, keyring, Metrics(), IngestLimits(**limits), quotas=quotas, deaths=deaths)
        await ingest.start()
        counting = asyncio.create_task(quotas.run()) if quotas else None
        running = asyncio.create_task(ingest.run())
        server = grpc.aio.server(interceptors=[GrpcGate(gate or Gate.open())], options=server_options())
        ingest_pb2_grpc.add_IngestServicer_to_server(ingest, server)  # type: ignore[no-untyped-call]
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield Leader(store, keyring, ingest, f"127.0.0.1:{port}")
        finally:
            await ingest.drain(5.0)
            await server.stop(0)
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                # What ends ingest would end a leader.
                await running
            await ingest.stop()
            if quotas is not None and counting is not None:
                counting.cancel()
                await asyncio.gather(counting, return_exceptions=True)
                await quotas.stop()
    finally:
        store.close()
