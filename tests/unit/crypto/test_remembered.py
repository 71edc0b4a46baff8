"""After a move the store knows where its keys are, whatever the settings say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from joblog.errors import Corrupt, Denied, NotFound
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.kms import Kms
from joblog.leader.crypto.kms_options import FileOptions, KmsDescription
from joblog.leader.crypto.remembered import open_present, present_now, remember, settings_of
from joblog.leader.crypto.store_keys import StoreKeys
from tests.unit.crypto.test_store_keys import Records, is_of


class Files:
    """Opens key files; `path` is the one that is set."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def describe(self, settings: Mapping[str, str] = {}) -> KmsDescription:
        return KmsDescription.of(FileOptions(settings.get("file", str(self.path))))

    def open(self, description: KmsDescription, settings: Mapping[str, str] = {}, *, create: bool = False) -> Kms:
        return FileKms(Path(description.parameters["path"]), create=create)


@pytest.fixture
def source(tmp_path: Path) -> Files:
    return Files(tmp_path / "old.key")


def moved(records: Records, source: Files, path: Path) -> Kms:
    """Moves the store's keys to the key file `path`, half of them."""
    known, _ = open_present(records, source)
    keys = StoreKeys(records, known, "s")
    keys.current()
    keys.rotate()
    new = FileKms(path)
    former = present_now(records, source, known.present)
    keys.switch(new, lambda: remember(records, former, new, source.describe({"file": str(path)})))
    next(keys.rewrap(is_of(new)))
    return new


def test_a_key_is_made_for_a_new_store_alone(source: Files, tmp_path: Path) -> None:
    records = Records()
    known, warning = open_present(records, source)
    StoreKeys(records, known, "s").current()
    assert not warning
    source.path.unlink()
    with pytest.raises(NotFound, match="there is none"):
        open_present(records, source)
    assert not source.path.exists()


def test_old_settings_open_the_new_kms_with_a_warning_and_new_ones_without(source: Files, tmp_path: Path) -> None:
    records = Records()
    new = moved(records, source, tmp_path / "new.key")
    known, warning = open_present(records, source)
    assert (known.present.name, known.present.key_id) == (new.name, new.key_id)
    assert f"set keys.kind = 'file', keys.file = '{tmp_path / 'new.key'}'" in warning
    keys = StoreKeys(records, known, "s")
    # The one that was not moved yet opens too.
    assert len([keys.cipher(key.key_id) for key in keys.all()]) == 2
    source.path = tmp_path / "new.key"
    known, warning = open_present(records, source)
    assert not warning
    # The KMS from before is found by what was noted, and not needed once all keys are moved.
    assert len([StoreKeys(records, known, "s").cipher(key.key_id) for key in keys.all()]) == 2
    list(keys.rewrap(is_of(FileKms(source.path))))
    (tmp_path / "old.key").unlink()
    known, _ = open_present(records, source)
    assert len([StoreKeys(records, known, "s").cipher(key.key_id) for key in keys.all()]) == 2


def test_what_is_missing_is_named(source: Files, tmp_path: Path) -> None:
    records = Records()
    moved(records, source, tmp_path / "new.key")
    (tmp_path / "new.key").unlink()
    with pytest.raises(NotFound, match=r"moved to another KMS.*set keys\.kind = 'file', keys\.file = .*new\.key"):
        open_present(records, source)
    records[b"kms/present"] = b"{}"
    with pytest.raises(Corrupt, match="kms/present"):
        open_present(records, source)


def test_a_kms_that_nothing_is_known_of_is_named(source: Files, tmp_path: Path) -> None:
    records = Records()
    known, _ = open_present(records, source)
    StoreKeys(records, known, "s").current()
    other = Files(tmp_path / "other.key")
    FileKms(other.path)
    known, _ = open_present(records, other)
    with pytest.raises(Denied, match=r"wrapped by KMS 'file'.*keys\.kind"):
        StoreKeys(records, known, "s").current()


def test_settings_that_are_as_usual_are_not_named() -> None:
    assert settings_of(KmsDescription("vault", {"address": "http://v:1", "key": "k", "mount": "transit"})) == {
        "kind": "vault",
        "vault.address": "http://v:1",
        "vault.key": "k",
    }
