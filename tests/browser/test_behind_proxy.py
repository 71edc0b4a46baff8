"""The UI under a path behind nginx, and signing in there at a real OpenID Connect provider, by click."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Request, expect

from tests.browser.proxy import BASE_PATH, ProxiedSite, nginx_missing
from tests.browser.tab import Site, Tab, Task
from tests.oidc.provider import CLIENT_ID, CLIENT_SECRET, Provider, running

LINES = 300


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    with running(tmp_path_factory.mktemp("provider")) as provider:
        yield provider


@pytest.fixture(scope="module")
def site(own_environment: None, provider: Provider) -> Iterator[Site]:
    """A leader behind nginx, that knows the provider."""
    if reason := nginx_missing():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="joblog."))
    made = ProxiedSite(folder)
    made.machine.environment |= {
        "JOBLOG_OIDC_ISSUER": provider.issuer,
        "JOBLOG_OIDC_NAME": "The company",
        "JOBLOG_OIDC_CLIENT_ID": CLIENT_ID,
        "JOBLOG_OIDC_CLIENT_SECRET": CLIENT_SECRET,
        "JOBLOG_OIDC_SCOPES": "openid,profile,groups",
        "JOBLOG_OIDC_GRANTS": "platform=admin:*,team-a=reader:team-a-*",
        "JOBLOG_OIDC_CA_FILE": str(provider.ca),
    }
    provider.control(redirect_uri=f"{made.url}/api/v1/oidc/callback")
    try:
        with made.running():
            yield made
    finally:
        made.machine.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def task(site: Site) -> Task:
    """A task that runs."""
    return site.task("nightly", "build", f"seq -f 'line %g' {LINES}")


def watched(tab: Tab) -> list[str]:
    """Fills with the addresses that a tab asks for."""
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url)

    tab.page.on("request", note)
    return asked


def at_provider(tab: Tab, provider: Provider, login: str) -> None:
    """Somebody signs in at the provider and agrees, where it asks."""
    page = tab.page
    expect(page).to_have_url(re.compile(re.escape(provider.issuer)))
    page.get_by_placeholder("Enter any login").fill(login)
    page.get_by_placeholder("and password").fill("any")
    page.get_by_role("button", name="Sign-in").click()
    page.get_by_role("button", name="Continue").click()


def test_all_of_it_works_under_a_path_behind_a_proxy(site: Site, task: Task, tab: Tab) -> None:
    page = tab.page
    asked = watched(tab)
    failed: list[str] = []
    page.on("response", lambda reply: failed.append(f"{reply.status} {reply.url}") if reply.status >= 400 else None)
    tab.open("")
    expect(page).to_have_url(f"{site.url}/runs")
    page.get_by_role("link", name="nightly").click()
    expect(page).to_have_url(f"{site.url}/runs/default/nightly")
    page.get_by_role("link", name="build").first.click()
    expect(tab.line(LINES)).to_be_in_viewport()
    for number in (1, 2, 3):
        task.do(f"echo fresh {number}")
        expect(tab.line(LINES + number)).to_contain_text(f"fresh {number}")

    # A line's link, for colleagues; and the page as somebody finds it who opens it anew.
    tab.open_log("nightly/build", "#L47-L49")
    expect(tab.line(48)).to_be_in_viewport()
    page.reload()
    expect(tab.line(48)).to_be_in_viewport()
    assert page.url.endswith(f"{BASE_PATH}logs/default/nightly/build/1#L47-L49")
    link = tab.line(48).get_by_role("link", name="Line 48")
    expect(link).to_have_js_property("href", f"{site.url}/logs/default/nightly/build/1#L48")
    # What was there before somebody came is not new to them.
    expect(tab.button("Paused")).to_have_text("Paused")
    task.do("echo one more")
    expect(tab.button(re.compile("^Paused"))).to_have_text("Paused · 1 new")
    page.locator("#log-rows").focus()
    page.keyboard.press("/")
    page.keyboard.type("line 25")
    page.keyboard.press("Enter")
    expect(page.get_by_text(re.compile("^11 lines in"))).to_be_visible()
    tab.button("Download").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Download", exact=True).click()
    assert download.value.path().read_text().splitlines()[:LINES] == [f"line {n}" for n in range(1, LINES + 1)]
    tab.button("Download").click()
    with page.expect_popup() as opened:
        page.get_by_role("menuitem", name="Open as text").click()
    expect(opened.value.get_by_text("line 299")).to_be_attached()
    opened.value.close()

    for name in ("Search", "Workers", "Storage", "Access", "Runs"):
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
    page.go_back()
    expect(page).to_have_url(f"{site.url}/access")
    assert asked
    elsewhere = [url for url in asked if not url.startswith(f"{site.url}/")]
    assert not elsewhere, elsewhere
    assert not failed, failed
    kept: list[str] = page.evaluate(
        """async (names) => await Promise.all(names.map(
        async (name) => `${(await fetch(name)).headers.get('cache-control')}`))""",
        [url for url in asked if "/assets/" in url][:3],
    )
    assert kept == ["public, max-age=31536000, immutable"] * 3


def test_somebody_signs_in_at_the_provider_and_out(
    site: Site, task: Task, provider: Provider, new_tab: Callable[..., Tab]
) -> None:
    tab = new_tab(token="")
    page = tab.page
    page.route(re.compile("googleapis"), lambda route: route.abort())
    wanted = "logs/default/nightly/build/1#L5-L7"
    tab.open(wanted)
    expect(page).to_have_url(re.compile("/login"))
    page.get_by_role("link", name="Sign in with The company").click()
    at_provider(tab, provider, "alice")
    expect(tab.line(5)).to_be_in_viewport()
    assert page.url == f"{site.url}/{wanted}"

    # Whose browser it is, with what roles; out again, in this browser's other tabs, too.
    tab.button("Account: alice").click()
    expect(page.get_by_text("admin on all namespaces")).to_be_visible()
    page.get_by_role("menuitem", name="Sign out").click()
    expect(page).to_have_url(f"{site.url}/login")
    expect(page.get_by_text("You are signed out")).to_be_visible()
    assert "line 5" not in page.content()
    tab.open(wanted)
    expect(page).to_have_url(re.compile("/login[?]to="))
    assert page.evaluate("async () => (await fetch('/joblog/api/v1/whoami')).status") == 401

    # The provider knows alice still, until she signs out there, too.
    page.get_by_role("link", name="Sign in with The company").click()
    expect(tab.line(5)).to_be_in_viewport()
    tab.button("Account: alice").click()
    page.get_by_role("menuitem", name="Sign out").click()
    page.get_by_role("link", name="sign out there").click()
    page.get_by_role("button", name="Yes, sign me out").click()

    # Somebody with fewer rights, in the same tab: nothing is left of what alice saw.
    tab.open("login?to=/runs")
    page.get_by_role("link", name="Sign in with The company").click()
    at_provider(tab, provider, "bob")
    expect(tab.button("Account: bob")).to_be_visible()
    pages = page.get_by_role("navigation").get_by_role("link")
    assert pages.all_inner_texts() == ["Runs", "Search"]
    expect(page.get_by_role("link", name="nightly")).to_have_count(0)


def test_who_is_refused_is_told_why(provider: Provider, new_tab: Callable[..., Tab]) -> None:
    def told(tab: Tab, login: str) -> str:
        tab.page.route(re.compile("googleapis"), lambda route: route.abort())
        tab.open("login?to=/search")
        tab.page.get_by_role("link", name="Sign in with The company").click()
        if login:
            at_provider(tab, provider, login)
        else:
            tab.page.get_by_role("link", name="Cancel").click()
        expect(tab.page).to_have_url(re.compile("/login[?]problem="))
        assert "to=%2Fsearch" in tab.page.url
        return tab.page.get_by_role("alert").inner_text()

    tab = new_tab(token="")
    assert "ask an administrator for a role" in told(tab, "mallory")
    # A way that another account might take, and one that is taken up where it ended.
    expect(tab.page.get_by_role("link", name="Sign in with The company")).to_be_visible()
    expect(tab.page.get_by_label("Token", exact=True)).to_be_visible()
    provider.control(claims={"aud": "somebody else"})
    assert "Signing in did not work" in told(new_tab(token=""), "alice")
    provider.control()
    assert "You were not signed in there" in told(new_tab(token=""), "")
