from __future__ import annotations

import sys
from pathlib import Path

import pytest

from joblog.errors import Corrupt, InvalidSettings, NotFound, Unavailable, WrongVersion
from joblog.leader.crypto.file_kms import FileKms
from joblog.leader.crypto.kms_options import (
    AwsOptions,
    FileOptions,
    KmsDescription,
    KmsOptions,
    KmsSecrets,
    PassphraseOptions,
    Pkcs11Options,
    VaultOptions,
)
from joblog.leader.crypto.metered_kms import MeteredKms
from joblog.leader.crypto.providers import open_kms
from joblog.leader.metrics import Metrics
from joblog.leader.settings import LeaderSettings
from joblog.settings import load

KEK_FILE = Path("/data/leader/kek.key")
SECRETS = KmsSecrets("a long passphrase", "hvs.token", "secret-id", "pin-1234")


def settings(**variables: str) -> LeaderSettings:
    return load(LeaderSettings, environ={f"JOBLOG_KEYS_{key}": value for key, value in variables.items()}).values


SET: list[tuple[dict[str, str], KmsOptions]] = [
    ({}, FileOptions(str(KEK_FILE))),
    ({"FILE": "/safe/kek"}, FileOptions("/safe/kek")),
    ({"KIND": "passphrase", "PASSPHRASE": "a long passphrase"}, PassphraseOptions()),
    (
        {"KIND": "aws", "AWS_KEY_ID": "alias/joblog", "AWS_CA_FILE": "/ca.pem", "AWS_READ_TIMEOUT_SECONDS": "3"},
        AwsOptions("alias/joblog", ca_file="/ca.pem", read_timeout_seconds=3.0),
    ),
    (
        {"KIND": "vault", "VAULT_ADDRESS": "https://vault:8200", "VAULT_TOKEN_FILE": "/run/token"},
        VaultOptions("https://vault:8200", "joblog", token_file="/run/token"),
    ),
    (
        {"KIND": "pkcs11", "PKCS11_MODULE": "/lib/hsm.so", "PKCS11_TOKEN": "t", "PKCS11_PIN": "1", "PKCS11_KEY": "k"},
        Pkcs11Options("/lib/hsm.so", "t", "k"),
    ),
]


@pytest.mark.parametrize(("variables", "options"), SET)
def test_settings_say_which_kms_and_a_store_can_keep_it(variables: dict[str, str], options: KmsOptions) -> None:
    description = settings(**variables).keys.description(KEK_FILE)
    assert description == KmsDescription.of(options)
    kept = KmsDescription.from_json(description.to_json())
    assert kept == description
    assert kept.options(type(options)) == options


def test_no_secret_is_shown_or_kept() -> None:
    given = settings(
        KIND="vault",
        VAULT_ADDRESS="https://vault:8200",
        VAULT_TOKEN="hvs.token",
        VAULT_SECRET_ID="secret-id",
        PKCS11_PIN="pin-1234",
        PASSPHRASE="a long passphrase",
    )
    assert given.keys.secrets({}) == SECRETS
    assert set(SECRETS.all()) == {"a long passphrase", "hvs.token", "secret-id", "pin-1234"}
    shown = repr(SECRETS) + repr(given.keys.description(KEK_FILE)) + given.keys.description(KEK_FILE).to_json()
    assert not [secret for secret in SECRETS.all() if secret in shown]


def test_the_token_of_vault_is_the_setting_else_the_files_else_the_variable() -> None:
    environ = {"VAULT_TOKEN": "from variable"}
    assert settings(VAULT_TOKEN="set").keys.secrets(environ).vault_token == "set"
    assert settings().keys.secrets(environ).vault_token == "from variable"
    assert settings(VAULT_TOKEN_FILE="/run/token").keys.secrets(environ).vault_token == ""


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"KIND": "passphrase"}, "JOBLOG_KEYS_PASSPHRASE"),
        ({"KIND": "aws"}, r"keys\.aws\.key_id"),
        ({"KIND": "vault"}, r"keys\.vault\.address"),
        ({"KIND": "vault", "VAULT_ADDRESS": "https://v:1", "VAULT_LOGIN": "approle"}, "JOBLOG_KEYS_VAULT_SECRET_ID"),
        ({"KIND": "vault", "VAULT_ADDRESS": "https://v:1", "VAULT_LOGIN": "kubernetes"}, r"keys\.vault\.role"),
        ({"KIND": "vault", "VAULT_ADDRESS": "https://me:word@v:1"}, "credentials in variables"),
        ({"KIND": "vault", "VAULT_ADDRESS": "v:8200"}, "write http"),
        ({"KIND": "pkcs11", "PKCS11_PIN": "1"}, r"keys\.pkcs11\.module"),
        ({"KIND": "pkcs11", "PKCS11_MODULE": "/m.so", "PKCS11_TOKEN": "t"}, "JOBLOG_KEYS_PKCS11_PIN"),
        ({"KIND": "none"}, "file, passphrase, aws, vault, pkcs11"),
    ],
)
def test_what_is_missing_is_named(variables: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidSettings, match=says):
        settings(**variables)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", Corrupt),
        ("[]", Corrupt),
        ('{"version": 1, "kind": "none", "parameters": {}}', Corrupt),
        ('{"version": 1, "kind": [], "parameters": {}}', Corrupt),
        ('{"version": 1, "kind": "file", "parameters": []}', Corrupt),
        ('{"version": 2, "kind": "file", "parameters": {}}', WrongVersion),
    ],
)
def test_a_description_that_was_changed_is_refused(text: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        KmsDescription.from_json(text)


@pytest.mark.parametrize("parameters", [{}, {"path": 1}, {"path": "/k", "more": "x"}])
def test_parameters_that_do_not_fit_are_refused(parameters: dict[str, object]) -> None:
    with pytest.raises(InvalidSettings):
        open_kms(KmsDescription("file", parameters), SECRETS)


@pytest.mark.parametrize(
    ("options", "library"),
    [
        (AwsOptions("k"), "boto3"),
        (VaultOptions("https://v:1", "k"), "hvac"),
        (Pkcs11Options("/m.so", "t"), "pkcs11"),
    ],
)
def test_a_library_that_is_missing_is_named_with_what_brings_it(
    options: KmsOptions, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("aws_kms", "vault_kms", "vault_client", "pkcs11_kms", "pkcs11_token"):
        monkeypatch.delitem(sys.modules, f"joblog.leader.crypto.{module}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    description = KmsDescription.of(options)
    extra = {"aws": "aws", "vault": "vault", "pkcs11": "pkcs11"}[description.kind]
    with pytest.raises(InvalidSettings, match=rf"pip install 'joblog\[{extra}\]'"):
        open_kms(description, SECRETS)


def test_a_key_file_is_made_only_where_that_is_wanted(tmp_path: Path) -> None:
    description = KmsDescription.of(FileOptions(str(tmp_path / "kek.key")))
    with pytest.raises(NotFound):
        open_kms(description, SECRETS)
    kms = open_kms(description, SECRETS, create=True)
    assert isinstance(kms, FileKms)
    assert kms.made
    assert open_kms(description, SECRETS).key_id == kms.key_id


def test_every_request_is_counted_with_its_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = Metrics()
    description = KmsDescription.of(FileOptions(str(tmp_path / "kek.key")))
    kms = open_kms(description, SECRETS, create=True, metrics=metrics.kms)
    assert isinstance(kms, MeteredKms)
    inner = kms.inner
    assert (kms.name, kms.key_id) == (inner.name, inner.key_id)
    wrapped = kms.wrap(b"secret", {})
    assert kms.unwrap(wrapped, {}) == b"secret"
    with pytest.raises(Corrupt):
        kms.unwrap(wrapped, {"another": "context"})
    assert kms.version_of(wrapped) == kms.current_version()
    assert kms.rotate() == kms.version_of(kms.rewrap(wrapped, {}))

    def away(_: bytes, __: object) -> bytes:
        raise Unavailable("away")

    monkeypatch.setattr(inner, "wrap", away)
    with pytest.raises(Unavailable):
        kms.wrap(b"secret", {})
    counted = {
        (sample.labels["operation"], sample.labels["outcome"]): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "joblog_kms_requests_total"
    }
    assert counted == {
        ("wrap", "ok"): 1,
        ("wrap", "Unavailable"): 1,
        ("unwrap", "ok"): 1,
        ("unwrap", "Corrupt"): 1,
        ("version", "ok"): 1,
        ("rotate", "ok"): 1,
        ("rewrap", "ok"): 1,
    }
