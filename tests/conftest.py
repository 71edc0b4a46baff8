"""What all tests share: an environment without the user's settings, marks and seed of the fault tests, S3 servers."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.object_servers import ACCESS_KEY, SECRET_KEY, moto_server, rgw_missing, rgw_server
from tests.soft_hsm import SoftHsm, soft_hsm_missing
from tests.vault_server import VaultServer, vault_server

FAULTS = Path(__file__).parent / "fault"
BROWSER = Path(__file__).parent / "browser"
SEED_VARIABLE = "FAULT_SEED"
SEED = int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().randrange(2**32))

# How long an example takes says nothing on a machine that does other things beside.
settings.register_profile("joblog", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("joblog")


def pytest_report_header() -> str:
    return f"fault seed: {SEED} ({SEED_VARIABLE}={SEED} repeats it)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(FAULTS):
            item.add_marker(pytest.mark.fault)
        if item.path.is_relative_to(BROWSER):
            item.add_marker(pytest.mark.browser)
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if "rgw" in getattr(item, "fixturenames", ()) or "rgw" in parameters:
            item.add_marker(pytest.mark.rgw)


@pytest.fixture(scope="session", autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Neither the variables nor the settings files nor the data of whoever runs the tests count."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("JOBLOG_")]:
            patch.delenv(name)
        for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """An empty data folder with a path short enough for the sockets in it, which that of tmp_path may not be."""
    folder = Path(tempfile.mkdtemp(prefix="joblog."))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def seed() -> int:
    """The seed of random faults: FAULT_SEED, or another one each time, shown in the head of pytest's output."""
    return SEED


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a moto server."""
    with moto_server(tmp_path_factory.mktemp("moto")) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def rgw(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of a real S3 server, started for the first test that needs one."""
    if reason := rgw_missing():
        pytest.skip(reason)
    with rgw_server(lambda: tmp_path_factory.mktemp("rgw")) as endpoint:
        yield endpoint


@pytest.fixture
def aws_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials that boto3 finds by itself, and none of whoever runs the tests."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)


@pytest.fixture
def vault() -> Iterator[VaultServer]:
    """A server with Transit's HTTP API, its own for each test."""
    with vault_server() as server:
        yield server


@pytest.fixture(scope="session")
def soft_hsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftHsm]:
    """Tokens of SoftHSM."""
    if reason := soft_hsm_missing():
        pytest.skip(reason)
    hsm = SoftHsm(tmp_path_factory.mktemp("softhsm"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(hsm.conf))
        yield hsm
