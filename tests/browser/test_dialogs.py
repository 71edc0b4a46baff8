"""Dialogs and menus of all pages: whether everybody can use them, and where the focus is after them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.axe import problems_of
from tests.browser.tab import Site, Tab

FOCUS = """() => { const e = document.activeElement;
 return e.getAttribute('aria-label') || e.innerText.trim().slice(0, 60) || e.tagName; }"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_explore(site: Site, new_tab: Callable[..., Tab], theme: Literal["light", "dark"]) -> None:
    tab = new_tab(theme=theme)
    page = tab.page
    site.token("viewer")
    site.machine.run("dialogs/one", "echo one")
    tab.open("storage")
    tab.button("Back up now…").click()
    page.get_by_role("dialog").get_by_role("button", name="Make it").click()
    expect(page.get_by_text("The last backup ended well")).to_be_visible()
    def option(name): return page.get_by_role("combobox", name=name, exact=True).first
    steps = [
        ("runs", lambda: tab.button(re.compile("^Account")), "menu"),
        ("runs", lambda: option("Filter by time"), "listbox"),
        ("runs", lambda: page.get_by_label("Filter by state").first, "listbox"),
        ("search", lambda: page.get_by_role("combobox").nth(0), "listbox"),
        ("search", lambda: page.get_by_role("combobox").nth(1), "listbox"),
        ("workers", lambda: tab.button(re.compile("^What can be done with")), "menu"),
        ("workers", lambda: tab.button(re.compile("^What can be done with")), "menu>Revoke its certificates"),
        ("storage", lambda: tab.button("Back up now…"), "dialog"),
        ("storage", lambda: tab.button(re.compile("^What to do with the backup")).first, "menu"),
        ("storage", lambda: tab.button(re.compile("^What to do with the backup")).first, "menu>Verify…"),
        ("storage", lambda: tab.button(re.compile("^What to do with the backup")).first, "menu>Restore runs…"),
        ("storage", lambda: tab.button("Rotate…"), "dialog"),
        ("access", lambda: tab.button("New token"), "dialog"),
        ("access", lambda: tab.button(re.compile("^Revoke a viewer")).first, "dialog"),
        ("access?tab=certificates", lambda: tab.button(re.compile("^Revoke the certificate")).first, "dialog"),
        ("access?tab=audit", lambda: option("Which actions"), "listbox"),
        ("access?tab=audit", lambda: option("Which outcome"), "listbox"),
    ]
    for path, opener, what in steps:
        tab.open(path)
        try:
            opener().wait_for(timeout=8000)
        except Exception:
            print(theme, path, what, "NO OPENER", flush=True); continue
        opener().focus()
        before = page.evaluate(FOCUS)
        page.keyboard.press("Enter" if what != "listbox" else "ArrowDown")
        role, _, item = what.partition(">")
        shown = page.get_by_role(role).first
        try:
            expect(shown).to_be_visible(timeout=5000)
        except AssertionError:
            print(theme, path, what, "NOT SHOWN", flush=True); continue
        if item:
            page.get_by_role("menuitem", name=item, exact=True).focus()
            page.keyboard.press("Enter")
            shown = page.get_by_role("dialog").first
            expect(shown).to_be_visible()
        page.wait_for_timeout(350)
        inside = page.evaluate(FOCUS)
        problems = problems_of(tab)
        page.screenshot(path=f"/tmp/dlg/{path.replace('?','_')}-{what.replace('>','_')}-{theme}.png")
        page.keyboard.press("Escape")
        expect(shown).to_be_hidden()
        page.wait_for_timeout(350)
        after = page.evaluate(FOCUS)
        print(theme, path, what, "| before", before, "| inside", inside, "| after", after, "" if before == after else "<<<<<<", problems, flush=True)
