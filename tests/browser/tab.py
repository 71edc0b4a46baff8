"""A tab with the admin UI, as a reader sees it; and the daemons that it shows."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect

from joblog.address import own_token, read_leader_file
from joblog.leader.archive.objects import walk
from joblog.leader.archive.s3 import S3Store
from tests.e2e.machine import DEADLINE_SECONDS, Machine, until
from tests.object_servers import ACCESS_KEY, SECRET_KEY, options_for

SHOWN_MS = 20_000
expect.set_options(timeout=SHOWN_MS)

# Network errors are what some of the tests make on purpose.
_EXPECTED = re.compile(r"Failed to load resource|net::ERR_")

_ROWS = """() => [...document.querySelectorAll('#log-rows [data-line]')].map(row => [
    Number(row.dataset.line), row.querySelector('[data-text]')?.innerText ?? null])"""


class Site:
    """The daemons of a folder, and their address.

    endpoint: an S3 server's, which has their archive and backups; without it both are folders.
    """

    archive = "joblog-archive"
    """The bucket of the archive."""

    def __init__(self, folder: Path, endpoint: str = "") -> None:
        self.endpoint = endpoint
        self.machine = Machine(folder / "data")
        self.machine.environment |= {
            "JOBLOG_ARCHIVE_URL": f"s3://{self.archive}/logs" if endpoint else f"file://{folder / 'archive'}",
            "JOBLOG_ARCHIVE_FLUSH_INTERVAL_SECONDS": "0.3",
            "JOBLOG_ARCHIVE_RETRY_SECONDS": "0.2",
            "JOBLOG_BACKUP_URL": "s3://joblog-backups/leader" if endpoint else f"file://{folder / 'backups'}",
        }
        for place in ("ARCHIVE", "BACKUP"):
            self.machine.environment |= {
                f"JOBLOG_{place}_S3_ENDPOINT": endpoint,
                f"JOBLOG_{place}_S3_PATH_STYLE": "true",
                f"JOBLOG_{place}_S3_ACCESS_KEY": ACCESS_KEY,
                f"JOBLOG_{place}_S3_SECRET_KEY": SECRET_KEY,
            }

    @property
    def url(self) -> str:
        """Where the UI is; another one after each start."""
        return read_leader_file(self.machine.data_dir).http_url.rstrip("/")

    def token(self, role: str) -> str:
        """A token of a role, for all namespaces."""
        made = self.machine.call("token", "create", "--role", role, "--name", f"a {role}")
        return made.stdout.decode().strip()

    def admin_token(self) -> str:
        """That of the leader's own user."""
        return own_token(self.machine.data_dir)

    def task(self, run: str, task: str, script: str, namespace: str = "default") -> Task:
        """Starts a shell script that goes on with what `do` is given."""
        return Task(self, run, task, script, namespace)

    def archived(self, log: str) -> None:
        """Waits until a log lies in the archive and nowhere else."""
        until(lambda: self.machine.record(log).get("tier") == "archive", f"{log} is archived")

    def objects(self, bucket: str) -> dict[str, int]:
        """The sizes of the objects that the S3 server has in a bucket, in bytes."""
        store = S3Store(bucket, "", options_for(self.endpoint))
        try:
            return {found.key: found.size for found in walk(store, "")}
        finally:
            store.close()


class Task:
    """A task that runs while the test goes on; each line that it is given is a command of its shell."""

    def __init__(self, site: Site, run: str, task: str, script: str, namespace: str) -> None:
        self.log = f"{run}/{task}"
        self._namespace = namespace
        self._site = site
        shell = ["sh", "-c", f'{script}\nwhile read -r line; do eval "$line"; done']
        flags = ["run", "--quiet", "--namespace", namespace, "--run", run, "--task", task, "--"]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._process = site.machine.start(*flags, *shell, **streams)
        until(lambda: self._state() == "live", f"{self.log} is live")

    def _state(self) -> str:
        return str(self._site.machine.record(self.log, self._namespace)["state"])

    def do(self, command: str) -> None:
        """Has the task do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(command.encode() + b"\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Lets the task end, and waits until its log is completed."""
        assert self._process.stdin is not None
        self._process.communicate()
        until(lambda: self._state() == "completed", f"{self.log} is completed")


class Tab:
    """A tab. problems: what its scripts and the content security policy had to say.

    token: who it is signed in as; None: the admin, "": nobody.
    """

    def __init__(
        self,
        browser: Browser,
        site: Site,
        *,
        token: str | None = None,
        width: int = 1280,
        height: int = 800,
        theme: Literal["light", "dark"] = "light",
    ) -> None:
        self.site = site
        self._context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=theme,
            ignore_https_errors=True,
            permissions=["clipboard-read", "clipboard-write"],
            timezone_id="UTC",
            locale="en-GB",
        )
        if token != "":
            self._sign_in(token or site.admin_token())
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(SHOWN_MS)
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._said)

    def _sign_in(self, token: str) -> None:
        reply = self._context.request.post(
            f"{self.site.url}/api/v1/session", data={"token": token}, headers={"Joblog-Request": "1"}
        )
        assert reply.status == 201, reply.text()

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not _EXPECTED.search(message.text):
            self.problems.append(message.text)

    def close(self) -> None:
        """Closes it."""
        self._context.close()

    def open(self, path: str) -> None:
        """Goes to an address of the UI."""
        self.page.goto(f"{self.site.url}/{path}", wait_until="commit")

    def open_log(self, log: str, fragment: str = "") -> None:
        """Goes to a log, and waits until lines are there."""
        run, _, task = log.partition("/")
        self.open(f"logs/default/{run}/{task}/1{fragment}")
        expect(self.row_texts().first).to_be_attached()

    def metrics(self) -> str:
        """What the leader counts, as Prometheus would have it."""
        headers = {"Authorization": f"Bearer {self.site.admin_token()}"}
        return self._context.request.get(f"{self.site.url}/metrics", headers=headers).text()

    def cut(self, *, offline: bool) -> None:
        """Takes the network away, or gives it back."""
        self._context.set_offline(offline)

    def row_texts(self) -> Locator:
        """What the rows in sight say."""
        return self.page.locator("#log-rows [data-text]")

    def line(self, number: int) -> Locator:
        """The row of a line."""
        return self.page.locator(f'#log-rows [data-line="{number}"]')

    def button(self, name: str | re.Pattern[str]) -> Locator:
        """A button by its name."""
        return self.page.get_by_role("button", name=name)

    def rows(self) -> dict[int, str]:
        """Lines in the document by number; those that are not loaded yet left out."""
        found: list[list[Any]] = self.page.evaluate(_ROWS)
        return {number: text for number, text in found if text is not None}

    def collect(self, lines: int) -> list[str]:
        """The text of all lines, gathered while scrolling down from the first."""
        page = self.page
        page.locator("#log-rows").focus()
        page.keyboard.press("Home")
        expect(self.line(1)).to_be_visible()
        found: dict[int, str] = {}

        def more() -> bool:
            rows = self.rows()
            if rows:
                for number, text in rows.items():
                    assert found.setdefault(number, text) == text, f"line {number} has changed"
                page.locator("#log-rows").evaluate("(box) => box.scrollBy(0, 400)")
            page.wait_for_timeout(30)
            return len(found) >= lines

        until(more, f"all {lines} lines were seen")
        assert sorted(found) == list(range(1, lines + 1))
        return [found[number] for number in sorted(found)]

    def wait(self, condition: Callable[[], Any], what: str, seconds: float = DEADLINE_SECONDS) -> Any:
        """Waits while the page goes on."""

        def look() -> Any:
            self.page.wait_for_timeout(20)
            return condition()

        return until(look, what, seconds)
