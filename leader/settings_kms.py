"""Opens KMSes with the leader's settings, or with others over them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from joblog.leader.crypto.kms import Kms
from joblog.leader.crypto.kms_options import KmsDescription, KmsSecrets
from joblog.leader.crypto.providers import open_kms
from joblog.leader.metrics import KmsMetrics

log = logging.getLogger(__name__)


class KeysInForce(Protocol):
    """What the settings say about the KMS."""

    def description(self, kek_file: Path) -> KmsDescription:
        """Which KMS is set. kek_file: the key file where none is named."""
        ...

    def secrets(self, environ: Mapping[str, str]) -> KmsSecrets:
        """All secrets that are set."""
        ...


LoadKeys = Callable[[Mapping[str, str]], KeysInForce]
_NO_SETTINGS: Mapping[str, str] = {}


class SettingsKms:
    """A KmsSource (crypto/remembered.py). load: the settings in force, with these below `keys.` over all others.

    kek_file: the key file where none is named. environ: where secrets are that are not settings.
    """

    def __init__(
        self,
        load: LoadKeys,
        kek_file: Path,
        environ: Mapping[str, str],
        metrics: KmsMetrics | None = None,
    ) -> None:
        self._load = load
        self._kek_file = kek_file
        self._environ = environ
        self._metrics = metrics

    def describe(self, settings: Mapping[str, str] = _NO_SETTINGS) -> KmsDescription:
        """As KmsSource.describe()."""
        return self._load(settings).description(self._kek_file)

    def open(
        self, description: KmsDescription, settings: Mapping[str, str] = _NO_SETTINGS, *, create: bool = False
    ) -> Kms:
        """As KmsSource.open()."""
        secrets = self._load(settings).secrets(self._environ)
        is_new = create and description.kind == "file" and not os.path.lexists(description.parameters["path"])
        kms = open_kms(description, secrets, create=create, metrics=self._metrics)
        if is_new:
            log.warning(
                "made a new key file, %s: without it no log can be read. Keep a copy elsewhere, and move it off the "
                "disk that holds the store (keys.file)",
                description.parameters["path"],
            )
        return kms
