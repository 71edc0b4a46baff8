"""boto3's client for a bucket."""

from __future__ import annotations

from typing import Any

import boto3
from botocore.config import Config

from joblog import __version__
from joblog.leader.archive.options import S3Options

_DEFAULT_REGION = "us-east-1"


def make_client(options: S3Options) -> Any:
    """A client with the connection settings of `options`; credentials by boto3's own chain unless they are given.

    It may be used by many threads.
    """
    session = boto3.session.Session(
        aws_access_key_id=options.access_key or None,
        aws_secret_access_key=options.secret_key or None,
        aws_session_token=options.session_token or None,
        region_name=options.region or None,
    )
    config = Config(
        signature_version="s3v4",
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=options.connect_timeout_seconds,
        read_timeout=options.read_timeout_seconds,
        max_pool_connections=options.max_connections,
        tcp_keepalive=True,
        user_agent_extra=f"joblog/{__version__}",
        # Signed also over TLS: servers that know no checksum headers hold the body against the signature.
        s3={"addressing_style": "path" if options.path_style else "auto", "payload_signing_enabled": True},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    client = session.client(
        "s3",
        region_name=session.region_name or _DEFAULT_REGION,
        endpoint_url=options.endpoint or None,
        verify=str(options.ca_file) if options.ca_file else None,
        config=config,
    )
    client.meta.events.register_last("before-call.s3", _at_once)
    return client


def _at_once(params: dict[str, Any], **_: object) -> None:
    """A body that is a file is sent as one of bytes is: boto3 would wait until the server says that it may come."""
    params["headers"].pop("Expect", None)
