"""Schemathesis on the OpenAPI document, all checks, against a leader that asks who is there."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from joblog.batch import STDOUT
from joblog.identity import LogName
from joblog.token import Token
from tests.e2e.access_callers import closed_gate, make_callers
from tests.e2e.api_server import api_in
from tests.fuzz.api_hooks import LINE, LINES, OWN_TOKEN
from tests.fuzz.mutation import EXAMPLES

ROOT = Path(__file__).parent.parent.parent
SECONDS = 30 if EXAMPLES < 1000 else 900
# Too long an address is refused, too. What a schema can't say is in api_hooks.py.
CONFIG = """[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "406", "409", "414", "415", "422", "429", "5xx"]
"""
CHECKS = ("--checks", "all")


async def test_the_document_is_what_the_leader_does(tmp_path: Path) -> None:
    async with api_in(tmp_path, closed_gate) as api:
        for run in ("r", "0"):
            log = api.stored.log(LogName("default", run, "t", 1))
            log.append((STDOUT, LINE * LINES))
            log.complete()
        token = make_callers(api.access_store).tokens["admin"] or ""
        environment = os.environ | {
            "SCHEMATHESIS_HOOKS": "tests.fuzz.api_hooks",
            OWN_TOKEN: Token.parse(token).id,
        }
        environment["PYTHONPATH"] = str(ROOT)
        program = os.path.join(os.path.dirname(sys.executable), "schemathesis")
        document = f"{api.http_server.url}/api/v1/openapi.json"
        phases = "coverage,fuzzing" if EXAMPLES >= 1000 else "fuzzing"
        options = {"max-examples": max(3, EXAMPLES // 20), "seed": 1, "max-time": SECONDS, "request-timeout": 20}
        config = tmp_path / "schemathesis.toml"
        config.write_text(CONFIG)
        command = [
            program, "--config-file", str(config), "run", document, *CHECKS, "--phases", phases,
            "--continue-on-failure", "--no-color",
            "--generation-database", "none", "--header", f"Authorization: Bearer {token}",
            "--header", "Joblog-Request: 1",
            *(f"--{name}={value}" for name, value in options.items()),
        ]  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            *command, cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(3 * SECONDS):
            said, _ = await process.communicate()
        assert process.returncode == 0, said.decode(errors="replace")[-60_000:]
