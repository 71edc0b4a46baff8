"""Routes for the keys that logs are encrypted under."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from pydantic import BaseModel, Field

from joblog.errors import Conflict
from joblog.leader.api.http.context import ApiContext, Context
from joblog.leader.api.http.words import moment
from joblog.leader.api.key_status import key_status
from joblog.leader.key_service import KeyService
from joblog.v1 import keys_pb2

router = APIRouter(prefix="/api/v1", tags=["keys"])


class StoreKey(BaseModel):
    """A key that the keys of logs are wrapped by; it lies on the disk wrapped by a KMS itself."""

    id: str
    store_id: str = Field(description="Another than the leader's: taken over with that store's archive")
    kms: str
    kms_key_id: str
    kms_key_version: str
    made_at: str | None
    wrapped_at: str | None
    current: bool = Field(description="New logs are encrypted under it")
    present: bool = Field(description="Wrapped by the present KMS, as far as is known by its newest version")
    open: bool = Field(description="In the leader's memory")
    archived: bool = Field(description="The archive has its newest copy")

    @classmethod
    def of(cls, key: keys_pb2.StoreKeyStatus) -> StoreKey:
        """From a message."""
        return cls(
            id=key.id.hex(),
            store_id=key.store_id,
            kms=key.kms,
            kms_key_id=key.kms_key_id,
            kms_key_version=key.kms_key_version,
            made_at=moment(key.made_ns),
            wrapped_at=moment(key.wrapped_ns),
            current=key.current,
            present=key.present,
            open=key.open,
            archived=key.archived,
        )


class Keys(BaseModel):
    """The keys, and the KMS that wraps new ones."""

    kms: str
    kms_key_id: str
    kms_key_version: str = Field(description="Empty where the KMS tells of none, or can't be asked now")
    kms_calls: int = Field(description="Since the leader started")
    started_at: str | None
    store_key_days: int = Field(description="A store key older than this is followed by a new one; 0: never")
    store_keys: list[StoreKey]
    warnings: list[str]


class Rotated(BaseModel):
    """A new store key was made."""

    store_key_id: str


def _keys(context: ApiContext) -> KeyService:
    keys = context.operated.keys
    if keys is None:
        raise Conflict("this server looks after no keys")
    return keys


@router.get("/keys")
async def get_keys(context: Context) -> Keys:
    """Which keys there are, what wrapped them, and how old they are. Asks the KMS nothing but its newest version."""
    service = _keys(context)
    # A KMS may take its time: that is not to keep readers waiting.
    found = await asyncio.to_thread(key_status, service, count_logs=False)
    return Keys(
        kms=found.kms,
        kms_key_id=found.kms_key_id,
        kms_key_version=found.kms_key_version,
        kms_calls=found.kms_calls,
        started_at=moment(found.started_ns),
        store_key_days=found.store_key_days,
        store_keys=[StoreKey.of(key) for key in found.store_keys],
        warnings=list(found.warnings),
    )


@router.post("/keys/rotate")
async def rotate_keys(context: Context) -> Rotated:
    """Makes a new store key for new logs; those there are stay under theirs."""
    service = _keys(context)
    return Rotated(store_key_id=(await asyncio.to_thread(service.rotate)).hex())
