"""The KMSes that wrapped a store's keys: the present one, and those before it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from joblog.errors import Denied
from joblog.leader.crypto.kms import Kms

# open_former(name, key_id): a KMS that was the present one once; None where nothing is known of it.
OpenFormer = Callable[[str, str], Kms | None]


def _unknown(_name: str, _key_id: str) -> None:
    return None


class KnownKms:
    """Finds the KMS that wrapped a key. Thread-safe. What is present may change while others use it."""

    def __init__(self, present: Kms, former: Iterable[Kms] = (), *, open_former: OpenFormer = _unknown) -> None:
        """open_former: asked, once, for each KMS that is neither the present one nor given."""
        self._open_former = open_former
        self._lock = threading.Lock()
        self._known = {(kms.name, kms.key_id): kms for kms in (*former, present)}
        self.present = present

    def switch(self, present: Kms) -> None:
        """Makes another KMS the present one; the one before stays known."""
        with self._lock:
            self._known[present.name, present.key_id] = present
            self.present = present

    def is_present(self, name: str, key_id: str) -> bool:
        """Whether it is the KMS that wraps new keys."""
        return (name, key_id) == (self.present.name, self.present.key_id)

    def find(self, name: str, key_id: str) -> Kms:
        """The KMS of that name with that key. Raises Denied when it is not known, and what opening it raises."""
        with self._lock:
            kms = self._known.get((name, key_id))
            if kms is None:
                kms = self._open_former(name, key_id)
                if kms is None:
                    raise Denied(
                        f"the store's key was wrapped by KMS {name!r}, key {key_id!r}; set is {self.present.name!r}, "
                        f"key {self.present.key_id!r}: give the key file or passphrase that the store was made with, "
                        f"or set keys.kind to {name!r} with that key"
                    )
                self._known[name, key_id] = kms
            return kms
