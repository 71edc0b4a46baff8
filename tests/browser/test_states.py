"""What pages show where the leader is slow, says no, fails or is gone; and that they come back by themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.tab import Site, Tab

# Longer than any pause between two requests.
PAUSE_MS = 40_000

PAGES: dict[str, tuple[str, str, str]] = {
    "runs": ("runs", r"/namespaces/default/runs\?", "states-run"),
    "run": ("runs/default/states-run", r"/runs/states-run(/logs)?(\?|$)", "exit 3"),
    "log": ("logs/default/states-run/t/1", r"/tasks/t/attempts/1(/bytes)?(\?|$)", "line 20"),
    "comparison": (
        "compare?namespace=default&run=states-run&task=t&left=1&right=2",
        r"/tasks/t/attempts/[12](/bytes)?(\?|$)",
        "1 difference",
    ),
    "workers": ("workers", r"/api/v1/workers$", "Certificate"),
    "storage": ("storage", r"/api/v1/storage$", "Waited for the disk"),
    "keys": ("storage", r"/api/v1/keys$", "A new store key"),
    "tokens": ("access", r"/api/v1/tokens\?", "a viewer"),
    "audit": ("access?tab=audit", r"/api/v1/audit\?", "#"),
}


@pytest.fixture(scope="module")
def run(site: Site) -> str:
    """A run with two attempts of a task, and a token."""
    for line in ("line 20; exit 3", "line 21; exit 3"):
        site.machine.run("states-run/t", f"seq -f 'line %g' 19; echo {line}")
    site.token("viewer")
    return "states-run"


class Leader:
    """What stands between a page and some of a leader's answers."""

    def __init__(self, page: Page, pattern: str) -> None:
        self._held: list[Route] = []
        self._answer: Callable[[Route], object] = self._held.append
        page.route(re.compile(pattern), lambda route: self._answer(route))

    def fail(self, status: int, message: str) -> None:
        """Answers with an error: what waits, as at first all does, and what comes."""
        body = json.dumps({"error": {"code": "UNKNOWN", "message": message}})
        self._let(lambda route: route.fulfill(status=status, body=body))

    def mend(self) -> None:
        """Lets all through."""
        self._let(lambda route: route.continue_())

    def _let(self, answer: Callable[[Route], object]) -> None:
        self._answer = answer
        for route in self._held:
            answer(route)
        self._held.clear()


def alert(tab: Tab, text: str | re.Pattern[str]) -> Locator:
    return tab.page.get_by_role("alert").filter(has_text=text)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_tells_what_it_waits_for_and_comes_back_by_itself(run: str, tab: Tab, name: str) -> None:
    path, pattern, text = PAGES[name]
    page, leader = tab.page, Leader(tab.page, pattern)
    page.clock.install()
    shown = page.get_by_text(text).first

    tab.open(path)
    expect(page.get_by_role("status", name=re.compile("Loading|Opening|Reading")).first).to_be_visible()
    page.clock.fast_forward(5_000)
    expect(page.get_by_text("the leader takes its time").first).to_be_visible()

    leader.fail(500, "the disk is on fire")
    page.clock.fast_forward(PAUSE_MS)
    expect(alert(tab, "The leader could not answer").first).to_contain_text("The disk is on fire. It is asked again")
    expect(shown).to_have_count(0)
    leader.mend()
    page.clock.fast_forward(PAUSE_MS)
    expect(shown).to_be_visible()
    expect(alert(tab, "could not answer")).to_have_count(0)

    tab.cut(offline=True)
    page.clock.fast_forward(PAUSE_MS)
    page.clock.fast_forward(PAUSE_MS)
    if name not in ("comparison", "log"):
        # What was read of a log that has ended stays as it is.
        expect(alert(tab, re.compile(r"not been reached since \d\d:\d\d:\d\d: what you see")).first).to_be_visible()
    expect(shown).to_be_visible()
    tab.cut(offline=False)
    page.clock.fast_forward(PAUSE_MS)
    expect(alert(tab, "not been reached")).to_have_count(0)
    expect(shown).to_be_visible()

    leader.fail(403, "guests have no permission for it")
    tab.open(path)
    expect(alert(tab, "Your account may not see this").first).to_contain_text(
        "Ask an administrator for a role that may"
    )
    expect(shown).to_have_count(0)


def test_what_is_not_there_says_so_and_leads_on(run: str, tab: Tab) -> None:
    for path, title, link in (
        ("runs/default/none", "There is no such run", "See the runs of default"),
        ("logs/default/states-run/none/1", "There is no such log", "See its run"),
        ("nowhere", "There is no such page", "See the runs"),
        ("compare", "Which attempts?", "All runs"),
    ):
        tab.open(path)
        expect(tab.page.get_by_role("heading", name=title)).to_be_visible()
        expect(tab.page.get_by_role("link", name=link)).to_be_visible()
    tab.open("compare?namespace=default&run=states-run&task=t&left=1&right=9")
    expect(alert(tab, "There is nothing here")).to_be_visible()


def test_a_page_whose_code_cant_be_had_opens_once_the_leader_is_back(run: str, tab: Tab) -> None:
    tab.open("runs")
    expect(tab.page.get_by_text(run)).to_be_visible()
    tab.page.clock.install()
    tab.cut(offline=True)
    tab.page.get_by_role("link", name="Workers").click()
    expect(tab.page.get_by_role("heading", name="The leader can't be reached")).to_be_visible()
    expect(tab.page.get_by_role("navigation", name="Pages")).to_be_visible()
    tab.cut(offline=False)
    tab.page.clock.fast_forward(PAUSE_MS)
    expect(tab.page.get_by_text("connected", exact=True).first).to_be_visible()
    # The router says on the console what it caught.
    tab.problems.clear()


def test_a_session_that_ends_leads_to_the_login_and_back(site: Site, run: str, new_tab: Callable[..., Tab]) -> None:
    token = site.token("admin")
    tab = new_tab(token=token)
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    task = site.task("ends", "t", "seq -f 'first %g' 5")
    tab.open_log(task.log, "#L2")
    expect(tab.line(5)).to_contain_text("first 5")
    site.machine.call("token", "revoke", token.split(".")[1])
    expect(tab.page).to_have_url(re.compile("/login"))
    expect(tab.page.get_by_label("Token")).to_be_visible()
    assert len([url for url in asked if url.endswith("/whoami")]) < 5
    tab.page.get_by_label("Token").fill(site.token("reader"))
    tab.page.keyboard.press("Enter")
    expect(tab.line(5)).to_contain_text("first 5")
    assert tab.page.url.endswith("/logs/default/ends/t/1#L2")
    task.do("echo second")
    expect(tab.line(6)).to_contain_text("second")
    task.end()
