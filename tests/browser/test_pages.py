"""All pages: who sees what, whether everybody can use them, how they look in both themes and on a narrow screen."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from playwright.sync_api import expect

from tests.browser.axe import problems_of
from tests.browser.tab import Site, Tab

SCREENSHOTS = "BROWSER_SCREENSHOTS"
"""A variable: the folder that pictures of all pages are put into; a new one without it."""

PAGES = {
    "runs": ("runs", "build"),
    "run": ("runs/default/build", "compile"),
    "log": ("logs/default/build/compile/1", "Compiling"),
    "failed log": ("logs/default/build/test/1", "assertion failed"),
    "search": ("search", "Which logs say"),
    "comparison": ("compare?namespace=default&run=build&task=retried&left=1&right=2", "1 difference"),
    "workers": ("workers", ""),
    "storage": ("storage", ""),
    "access": ("access", ""),
    "audit": ("access?tab=audit", "log.read"),
    "nothing there": ("nowhere", ""),
}
PANELS = {"log search": "/", "log about": "i", "log keys": "Shift+?"}
# Colours and places that change do so in steps; what is loading goes on for ever.
SETTLED = """(width) => window.innerWidth === width && document.getAnimations()
    .every((one) => one.playState !== 'running' || one.effect.getTiming().iterations === Infinity)"""
MAX_FIRST_PAGE_BYTES = 350_000
LOOKS: tuple[tuple[Literal["light", "dark"], int], ...] = (
    ("light", 1280),
    ("dark", 1280),
    ("dark", 400),
    ("light", 400),
)

COMPILE = r"""
printf '::group::Set-up\n'; seq -f 'Fetching crate %g' 12; printf '::endgroup::\n'
i=0; while [ $i -lt 120 ]; do
  printf '\033[1;32m   Compiling\033[0m module_%03d v0.%d.1 (/src/module_%03d)\n' $i $i $i; i=$((i+1)); done
printf '\033[1;33mwarning\033[0m: unused variable: `x`\n' >&2
printf 'Downloading 10%%\rDownloading 60%%\rDownloading 100%%\n'
printf 'error: assertion failed: left == right\n' >&2; printf 'see https://example.com/errors/42 for help\n'; sleep 1
"""


@pytest.fixture(scope="module")
def built(site: Site) -> str:
    """A run with a task that succeeded, one that failed, one that was tried twice, and one that still runs."""
    for task, end in (("compile", "true"), ("test", "exit 3")):
        site.machine.run(f"build/{task}", f"{COMPILE}{end}", "--label", "team=core", "--label", "branch=main")
    for end in ("exit 1", "echo only now"):
        site.machine.run("build/retried", f"date +'%FT%T.%N: linking'; seq -f 'linked %g' 30; {end}")
    site.task("build", "deploy", "seq -f 'waiting for node %g' 20")
    site.archived("build/compile")
    return "build"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the pages go."""
    named = os.environ.get(SCREENSHOTS)
    folder = Path(named) if named else tmp_path_factory.mktemp("pages")
    folder.mkdir(exist_ok=True, parents=True)
    print(f"pictures of the pages are in {folder}")
    return folder


@pytest.mark.parametrize("name", [*PAGES, *PANELS, "login"])
def test_every_page_can_be_used_by_everybody(
    built: str, new_tab: Callable[..., Tab], pictures: Path, name: str
) -> None:
    tab = new_tab(token="" if name == "login" else None)
    page = tab.page
    if name in PANELS:
        tab.open_log("build/test")
        page.keyboard.press(PANELS[name])
        expect(page.locator("aside, [role=dialog]").first).to_be_visible()
    elif name == "login":
        tab.open("runs")
        expect(page).to_have_url(re.compile("/login"))
        expect(tab.button(re.compile("Sign in", re.IGNORECASE))).to_be_visible()
    else:
        path, text = PAGES[name]
        tab.open(path)
        expect(page.get_by_role("navigation")).to_be_attached()
        if text:
            expect(page.get_by_text(text).last).to_be_attached()
        if "log" not in name:
            page.wait_for_load_state("networkidle")
    found = {}
    for theme, width in LOOKS:
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size({"width": width, "height": 800})
        expect(page.locator(f"html[data-mantine-color-scheme={theme}]")).to_be_attached()
        tab.wait(lambda: page.evaluate(SETTLED, width), "it has come to rest")  # noqa: B023
        if problems := problems_of(tab):
            found[f"{theme}, {width}"] = problems
        page.screenshot(path=pictures / f"{name.replace(' ', '_')}-{theme}-{width}.png")
        # Nothing makes the page itself wider than the screen.
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert not found, found


def test_the_first_page_is_small(built: str, tab: Tab) -> None:
    tab.open("runs")
    expect(tab.page.get_by_role("link", name="build")).to_be_visible()
    sizes: dict[str, int] = tab.page.evaluate(
        """() => Object.fromEntries([...performance.getEntriesByType('navigation'),
        ...performance.getEntriesByType('resource').filter((one) => one.name.includes('/assets/'))]
        .map((one) => [one.name, one.encodedBodySize]))"""
    )
    assert sum(name.endswith(".js") for name in sizes) >= 2
    assert 50_000 < sum(sizes.values()) < MAX_FIRST_PAGE_BYTES, sizes


def test_a_backup_is_made_and_verified(site: Site, built: str, tab: Tab) -> None:
    tab.open("storage")
    backups = tab.page.get_by_role("region", name="Backups").first
    expect(tab.page.get_by_text("There is no backup yet")).to_be_visible()
    tab.button("Back up now…").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Make it").click()
    expect(tab.page.get_by_text("The last backup ended well")).to_be_visible()
    expect(backups).to_contain_text("asked")
    tab.button(re.compile("^What to do with the backup of")).click()
    tab.page.get_by_role("menuitem", name="Verify…", exact=True).click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Verify it").click()
    expect(tab.page.get_by_text("The last verification ended well")).to_be_visible()
    expect(backups).to_contain_text("good")

    # A run that was deleted comes back, and a link to a line of it means what it did when the run was live.
    kept = site.task("kept", "t", "seq -f 'number %g' 5000")
    tab.open_log(kept.log, "#L4711")
    expect(tab.line(4711)).to_be_in_viewport()
    link = tab.page.url
    kept.end()
    site.archived(kept.log)
    tab.open("storage")
    tab.button("Back up now…").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Make it").click()
    expect(tab.page.get_by_role("row").filter(has_text="asked")).to_have_count(2)
    site.machine.call("delete", "kept", "--yes")
    assert site.machine.record(kept.log) == {"state": ""}
    tab.button(re.compile("^What to do with the backup of")).first.click()
    tab.page.get_by_role("menuitem", name="Restore runs…").click()
    restore = tab.page.get_by_role("dialog", name="Restore runs")
    restore.get_by_label("Runs, one a line").fill("kept")
    expect(restore.get_by_text("Write NAMESPACE/RUN: kept")).to_be_visible()
    restore.get_by_label("Runs, one a line").fill("default/kept")
    restore.get_by_role("button", name="Restore").click()
    expect(tab.page.get_by_text("The last restore ended well")).to_be_visible()
    tab.page.goto(link)
    expect(tab.line(4711)).to_have_text(re.compile("number 4711$"))
    expect(tab.line(4711)).to_be_in_viewport()
    expect(tab.page.locator("#log-rows [class*=selected]")).to_have_count(1)


@pytest.mark.parametrize("role", ["viewer", "reader"])
def test_who_does_not_operate_the_leader_sees_no_backups(
    site: Site, built: str, new_tab: Callable[..., Tab], role: str
) -> None:
    tab = new_tab(token=site.token(role))
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    tab.open("storage")
    expect(tab.page.get_by_role("heading", name="Your account may not see this")).to_be_visible()
    expect(tab.page.get_by_role("heading", name="Backups")).to_have_count(0)
    expect(tab.button(re.compile("Back up"))).to_have_count(0)
    assert not [url for url in asked if "/backups" in url or "/storage" in url.partition("/api/")[2]]
    answer: dict[str, Any] = tab.page.evaluate(
        """async () => (await fetch('/api/v1/backups', {method: 'POST', headers: {'Joblog-Request': '1'}})).json()"""
    )
    assert "has no permission leader.operate" in str(answer), answer


def test_an_operator_starts_a_backup(site: Site, built: str, new_tab: Callable[..., Tab]) -> None:
    tab = new_tab(token=site.token("operator"))
    tab.open("storage")
    tab.button("Back up now…").click()
    tab.page.get_by_role("dialog").get_by_role("button", name="Make it").click()
    expect(tab.page.get_by_text("The last backup ended well")).to_be_visible()


def test_two_attempts_are_compared(built: str, tab: Tab) -> None:
    tab.open_log("build/retried")
    tab.page.keyboard.press("i")
    tab.page.get_by_role("complementary", name="About this log").get_by_role("link", name="Compare").click()
    # The times in them differ, and are no difference.
    expect(tab.page.get_by_text("1 difference: 0 lines on the left, 1 on the right")).to_be_visible()
    tab.page.keyboard.press("n")
    expect(tab.page.get_by_role("cell").filter(has_text="only now")).to_be_in_viewport()
    tab.page.get_by_role("switch", name="Ignore times").press("Space")
    expect(tab.page.get_by_text("2 differences: 1 line on the left, 2 on the right")).to_be_visible()


def test_logs_are_found_by_what_they_say(built: str, tab: Tab) -> None:
    tab.open("search")
    tab.page.get_by_label("Which logs say").fill("Fetching crate 7")
    tab.page.get_by_label("Lines around").fill("1")
    tab.page.keyboard.press("Enter")
    said = tab.page.get_by_role("status")
    expect(said).to_contain_text(re.compile("^2 lines found; [1-9]"))
    found = tab.page.get_by_role("region", name="Lines found")
    assert sorted(found.get_by_role("link", name="build /").all_inner_texts()) == [
        "build / compile #1",
        "build / test #1",
    ]
    hit = found.get_by_role("link").filter(has_text="Fetching crate 7").first
    expect(hit).to_contain_text("Fetching crate 6")
    expect(hit).to_contain_text("Fetching crate 8")

    # Only what stderr wrote; only runs of another time.
    tab.page.get_by_role("combobox", name="by", exact=True).click()
    tab.page.get_by_role("option", name="stderr").click()
    tab.button("Search").click()
    expect(tab.page.get_by_role("heading", name="No log says this")).to_be_visible()
    tab.page.get_by_role("combobox", name="by", exact=True).click()
    tab.page.get_by_role("option", name="stdout").click()
    tab.page.get_by_role("combobox", name="in runs of").click()
    tab.page.get_by_role("option", name="Between…").click()
    tab.page.get_by_label("until", exact=True).fill("2020-01-31T12:00")
    tab.button("Search").click()
    expect(said).to_contain_text("0 runs, 0 logs")
    tab.page.get_by_label("until", exact=True).fill("2100-01-31T12:00")
    tab.page.get_by_label("from", exact=True).fill("2020-01-31T12:00")
    tab.button("Search").click()
    expect(said).to_contain_text("2 lines found")
    line = hit.get_attribute("href") or ""
    hit.click()
    expect(tab.line(int(line.rpartition("#L")[2]))).to_be_in_viewport()


def test_a_token_signs_in_and_leads_to_where_one_wanted_to_go(
    site: Site, built: str, new_tab: Callable[..., Tab]
) -> None:
    tab = new_tab(token="")
    tab.open("logs/default/build/test/1#L5")
    expect(tab.page).to_have_url(re.compile("/login"))
    tab.page.get_by_label("Token").fill(site.token("reader"))
    tab.page.keyboard.press("Enter")
    expect(tab.line(5)).to_be_in_viewport()
    assert tab.page.url.endswith("/logs/default/build/test/1#L5")


def test_a_viewer_sees_runs_and_no_text(site: Site, built: str, new_tab: Callable[..., Tab]) -> None:
    tab = new_tab(token=site.token("viewer"))
    tab.open("runs/default/build")
    expect(tab.page.get_by_role("link", name="compile").first).to_be_visible()
    pages = tab.page.get_by_role("navigation").get_by_role("link")
    assert pages.all_inner_texts() == ["Runs"]
    tab.open("logs/default/build/test/1")
    expect(tab.page.get_by_role("alert").or_(tab.page.get_by_text("may not")).first).to_be_visible()
    assert "assertion failed" not in tab.page.content()
    assert "Fetching crate" not in tab.page.content()


def test_an_operator_sees_the_leader_and_no_text(site: Site, built: str, new_tab: Callable[..., Tab]) -> None:
    tab = new_tab(token=site.token("operator"))
    tab.open("runs")
    pages = tab.page.get_by_role("navigation").get_by_role("link")
    expect(pages.filter(has_text="Workers")).to_be_visible()
    assert {"Workers", "Storage"} <= set(pages.all_inner_texts())
    assert "Search" not in pages.all_inner_texts()
    tab.open("logs/default/build/test/1")
    expect(tab.page.get_by_role("alert").or_(tab.page.get_by_text("may not")).first).to_be_visible()
    assert "assertion failed" not in tab.page.content()
