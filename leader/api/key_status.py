"""What there is to tell about the store's keys."""

from __future__ import annotations

from joblog.leader.key_service import KeyService
from joblog.v1 import keys_pb2


def key_status(service: KeyService, *, count_logs: bool) -> keys_pb2.GetKeysResponse:
    """The keys as of now. Blocks: asks the KMS for its newest version. count_logs: reads an entry of each log."""
    keys = service.keys
    present = keys.kms.present
    newest = service.newest_version()
    counts = service.store.count_deks() if count_logs else {}
    behind = set(service.behind())
    return keys_pb2.GetKeysResponse(
        kms=present.name,
        kms_key_id=present.key_id,
        kms_key_version=newest,
        store_keys=[
            keys_pb2.StoreKeyStatus(
                id=key.key_id,
                store_id=key.store_id,
                kms=key.record.kms,
                kms_key_id=key.record.key_id,
                kms_key_version=key.record.kek_version,
                made_ns=key.record.made_ns,
                wrapped_ns=key.record.wrapped_ns,
                current=key.current,
                present=service.is_fresh(key.record, newest),
                open=keys.is_open(key.key_id),
                archived=key.key_id not in behind,
                logs=counts.get(key.key_id, 0),
            )
            for key in keys.all()
        ],
        kms_calls=service.kms_calls(),
        started_ns=service.started_ns,
        warnings=service.warnings(),
        store_key_days=service.store_key_days,
    )
