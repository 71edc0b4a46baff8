"""The parts of a leader that know who asks: the access store, the gate, and what makes tokens."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from joblog.errors import InvalidSettings
from joblog.leader.access.admin_token import ensure_admin_token
from joblog.leader.access.attempts import AttemptLimits, Attempts
from joblog.leader.access.oidc_options import OidcOptions
from joblog.leader.access.recognition import Recogniser, SessionRules
from joblog.leader.access.records import NO_QUOTA, Quota
from joblog.leader.access.store import AccessStore
from joblog.leader.api.gate import Gate
from joblog.leader.api.oidc_sign_in import OidcSignIn
from joblog.leader.api.signing_in import SignIn
from joblog.paths import DataFolder, make_folder
from joblog.service import Service

log = logging.getLogger(__name__)


class Admission(NamedTuple):
    """Who may come in. gate: a service of the daemon; store: to be closed when the daemon has ended."""

    store: AccessStore
    gate: Gate
    admin_token: Path

    def token_quota(self, token_id: str) -> Quota:
        """The quota of a token; none for one that is not there any more. Raises Unavailable, Corrupt."""
        record = self.store.find_token(token_id)
        return record.quota if record is not None else NO_QUOTA

    def write_admin_token(self, *, fingerprint: bytes, address: str) -> None:
        """Makes the leader's own admin token where there is none, and has its file say whom to trust and where."""
        if ensure_admin_token(self.store, self.admin_token, fingerprint=fingerprint, address=address):
            log.warning(
                "made an admin token, %s: whoever has it may do everything here; clients of this user on this machine "
                "use it by themselves",
                self.admin_token,
            )


class AdminTokenFile(Service):
    """Keeps the leader's own admin token in its file. address: of the leader, once its server listens."""

    name = "admin token"

    def __init__(
        self, admission: Admission, address: Callable[[], str], fingerprint: Callable[[], bytes] = bytes
    ) -> None:
        self._admission = admission
        self._address = address
        self._fingerprint = fingerprint

    async def start(self) -> None:
        """Makes the token where there is none. Raises OutOfSpace."""
        self._admission.write_admin_token(fingerprint=self._fingerprint(), address=self._address())


@dataclass(frozen=True, slots=True)
class AdmissionOptions:
    """control: whether anybody is asked. For foreign_clients, attempts and sessions see Recogniser."""

    control: bool = True
    open_metrics: bool = False
    foreign_clients: tuple[str, ...] | None = None
    attempts: AttemptLimits = field(default_factory=AttemptLimits)
    sessions: SessionRules = field(default_factory=SessionRules)


def open_admission(folder: DataFolder, options: AdmissionOptions) -> Admission:
    """Opens the access store, or makes it.

    Raises Corrupt, WrongVersion, OutOfSpace.
    """
    make_folder(folder.access)
    store = AccessStore(folder.access_store)
    recogniser = None
    if options.control:
        recogniser = Recogniser(
            store,
            foreign_clients=options.foreign_clients,
            attempts=Attempts(options.attempts),
            sessions=options.sessions,
        )
    else:
        log.warning("access control is off (access.control): whoever reaches this leader may read and delete every log")
    return Admission(store, Gate(store, recogniser, open_metrics=options.open_metrics), folder.admin_token)


def open_oidc(options: OidcOptions, sign_in: SignIn, gate: Gate) -> OidcSignIn:
    """Signing in at a provider, which is not asked anything yet. Raises InvalidSettings."""
    try:
        from joblog.leader.access.oidc_provider import OidcProvider
    except ImportError:
        raise InvalidSettings("oidc.issuer needs a library that is not installed: pip install 'joblog[oidc]'") from None
    if options.ca_file is not None and not options.ca_file.is_file():
        raise InvalidSettings(f"oidc.ca_file: there is no file {options.ca_file}")
    return OidcSignIn(OidcProvider(options), sign_in, gate)
