"""Schemathesis on the OpenAPI document, all checks but one, against a leader that asks who is there."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from joblog.batch import STDOUT
from joblog.identity import LogName
from tests.e2e.access_callers import closed_gate, make_callers
from tests.e2e.api_server import api_in
from tests.fuzz.mutation import EXAMPLES

SECONDS = 30 if EXAMPLES < 1000 else 900
# What a schema can't say makes good data bad: cursors, names, one of two parameters. All other checks are made.
# Too long an address is refused, too.
CONFIG = """[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "414", "415", "422", "429", "5xx"]
"""
CHECKS = ("--checks", "all", "--exclude-checks", "positive_data_acceptance")


async def test_the_document_is_what_the_leader_does(tmp_path: Path) -> None:
    async with api_in(tmp_path, closed_gate) as api:
        for run in ("r", "0"):
            log = api.stored.log(LogName("default", run, "t", 1))
            log.append((STDOUT, b"a line\n" * 1000))
            log.complete()
        token = make_callers(api.access_store).tokens["admin"]
        program = os.path.join(os.path.dirname(sys.executable), "schemathesis")
        document = f"{api.http_server.url}/api/v1/openapi.json"
        phases = "coverage,fuzzing" if EXAMPLES >= 1000 else "fuzzing"
        options = {"max-examples": max(3, EXAMPLES // 20), "seed": 1, "max-time": SECONDS, "request-timeout": 20}
        config = tmp_path / "schemathesis.toml"
        config.write_text(CONFIG)
        command = [
            program, "--config-file", str(config), "run", document, *CHECKS, "--phases", phases,
            "--continue-on-failure", "--no-color",
            "--exclude-operation-id", "revoke_token",
            "--generation-database", "none", "--header", f"Authorization: Bearer {token}",
            *(f"--{name}={value}" for name, value in options.items()),
        ]  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(3 * SECONDS):
            said, _ = await process.communicate()
        assert process.returncode == 0, said.decode(errors="replace")[-60_000:]
