"""A leader whose KEK is in a service or a token, and the archive read with that KMS and no leader: real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from joblog.leader.crypto.kms_options import Pkcs11Options
from tests.e2e.machine import Machine, until
from tests.kms_places import aws_options, name_at, pkcs11_options, vault_options
from tests.soft_hsm import PIN, SoftHsm
from tests.vault_server import VaultServer

TASKS = ("a", "b")


def variables(kind: str, place: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """The settings of a KMS of that kind, all of which the tests have started."""
    name = name_at(place, "leader")
    if kind == "aws":
        request.getfixturevalue("aws_credentials")
        endpoint: str = request.getfixturevalue("moto")
        return {"AWS_KEY_ID": aws_options(endpoint, name).key_id, "AWS_ENDPOINT": endpoint}
    if kind == "vault":
        vault: VaultServer = request.getfixturevalue("vault")
        token = place / "token"
        token.write_text("root-token\n")
        return {
            "VAULT_ADDRESS": vault.url,
            "VAULT_KEY": vault_options(vault, name).key,
            "VAULT_TOKEN_FILE": str(token),
        }
    if kind == "pkcs11":
        hsm: SoftHsm = request.getfixturevalue("soft_hsm")
        options: Pkcs11Options = pkcs11_options(hsm, name)
        return {"PKCS11_MODULE": options.module, "PKCS11_TOKEN": options.token, "PKCS11_PIN": PIN}
    raise AssertionError(kind)


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    made: list[Machine] = []
    yield made
    for machine in made:
        machine.close()


@pytest.mark.parametrize("kind", ["aws", "vault", "pkcs11"])
def test_logs_are_read_by_who_has_the_kms_and_by_nobody_else(
    kind: str, tmp_path: Path, data_dir: Path, machines: list[Machine], request: pytest.FixtureRequest
) -> None:
    keys = {f"JOBLOG_KEYS_{name}": value for name, value in variables(kind, tmp_path, request).items()}
    machine = Machine(data_dir / "first")
    machines.append(machine)
    archive = {
        "JOBLOG_ARCHIVE_URL": f"file://{tmp_path}/archive",
        "JOBLOG_ARCHIVE_FLUSH_INTERVAL_SECONDS": "0.2",
        "JOBLOG_KEYS_KIND": kind,
    }
    machine.environment |= {**keys, **archive}
    machine.start_up()
    for task in TASKS:
        machine.call("run", "--quiet", "--run", "r", "--task", task, "--", "echo", f"text of {task}")
    sealed = [tmp_path / "archive" / "default" / "r" / task / "1" / "metadata.json" for task in TASKS]
    until(lambda: all(file.exists() for file in sealed), "they are sealed")
    if kind == "vault":
        # They do not grow with logs.
        asked = [one for one in request.getfixturevalue("vault").requests if "/keys/" not in one]
        assert len(asked) <= 3, asked
    assert machine.stop_up() == 0
    said = machine.messages.read_text()
    assert not any(secret in said for secret in (PIN, "root-token"))
    assert not (machine.data_dir / "leader" / "kek.key").exists()

    fresh = Machine(data_dir / "second")
    machines.append(fresh)
    fresh.environment |= {**keys, **archive}
    assert fresh.call("archive", "cat", "r/b").stdout == b"text of b\n"
    fresh.call("archive", "verify")
    fresh.call("archive", "rebuild")

    stranger = Machine(data_dir / "third")
    machines.append(stranger)
    stranger.environment |= archive | {"JOBLOG_KEYS_KIND": "passphrase", "JOBLOG_KEYS_PASSPHRASE": "another phrase"}
    refused = stranger.call("archive", "cat", "r/a", check=False)
    assert (refused.returncode, refused.stdout) == (5, b""), refused.stderr
