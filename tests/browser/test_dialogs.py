"""Dialogs and menus of all pages: whether everybody can use them in both themes, and where the focus is after them."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, expect

from tests.browser.axe import problems_of
from tests.browser.tab import Site, Tab

_THEME = "theme => document.documentElement.setAttribute('data-mantine-color-scheme', theme)"
_MOVES = "() => document.getAnimations().filter((one) => one.playState === 'running').length"


class Looks:
    """Opens what lies over a page by keyboard, looks at it in both themes, closes it, and keeps what is wrong."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.found: dict[str, list[str]] = {}

    def at(self, name: str, role: str) -> None:
        """What is open now."""
        page = self.tab.page
        expect(page.get_by_role(role).first).to_be_visible()  # type: ignore[arg-type]
        self.tab.wait(lambda: page.evaluate(_MOVES) == 0, f"{name} has come to rest")
        for theme in ("dark", "light"):
            page.evaluate(_THEME, theme)
            if problems := problems_of(self.tab, f"[role={role}]"):
                self.found[f"{name}, {theme}"] = problems

    def over(self, opener: Locator, role: str, item: str = "", key: str = "Enter") -> None:
        """What a button opens, or an item of the menu that it opens; the focus comes back to it."""
        page = self.tab.page
        opener.focus()
        page.keyboard.press(key)
        if item:
            page.get_by_role("menuitem", name=item, exact=True).focus()
            page.keyboard.press("Enter")
        name = f"{page.url.rpartition('/')[2]}: {item or opener}"
        self.at(name, role)
        page.keyboard.press("Escape")
        expect(page.get_by_role(role)).to_have_count(0)  # type: ignore[arg-type]
        expect(opener, f"the focus is back after {name}").to_be_focused()

    def choices(self, name: str) -> None:
        """What a field lets one choose from."""
        field = self.tab.page.get_by_role("combobox", name=name, exact=True).first
        self.over(field, "listbox", key="ArrowDown")


def test_everybody_can_use_what_lies_over_a_page(site: Site, tab: Tab) -> None:
    page, looks = tab.page, Looks(tab)
    site.token("viewer")
    tab.open("runs")
    looks.over(tab.button(re.compile("^Account")), "menu")
    for name in ("Namespace", "Filter by time", "Filter by state"):
        looks.choices(name)
    tab.open("search")
    for name in ("in runs of", "by"):
        looks.choices(name)
    tab.open("workers")
    worker = tab.button(re.compile("^What can be done with"))
    looks.over(worker, "menu")
    looks.over(worker, "dialog", "Revoke its certificates")

    tab.open("access")
    looks.over(tab.button(re.compile("^Revoke a viewer")).first, "dialog")
    tab.button("New token").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Another role").press("Enter")
    page.get_by_role("dialog").get_by_role("button", name="Quotas").press("Enter")
    tab.button("Make the token").press("Enter")
    expect(page.get_by_text("Say what it is for")).to_be_visible()
    looks.at("new token", "dialog")
    page.keyboard.press("Escape")
    expect(tab.button("New token")).to_be_focused()
    tab.open("access?tab=certificates")
    looks.over(tab.button(re.compile("^Revoke the certificate")).first, "dialog")
    tab.open("access?tab=audit")
    for name in ("Which actions", "Which outcome"):
        looks.choices(name)
    assert not looks.found, looks.found


def test_everybody_can_use_what_lies_over_the_page_of_storage(site: Site, tab: Tab) -> None:
    page, looks = tab.page, Looks(tab)
    tab.open("storage")
    menus = tab.button(re.compile("^What to do with the backup of"))
    expect(menus.first.or_(page.get_by_text("There is no backup yet"))).to_be_visible()
    before = menus.count()
    looks.over(tab.button("Rotate…"), "dialog")
    looks.over(tab.button("Back up now…"), "dialog")

    # By keyboard: the dialog asks, "Cancel" first; the button that it came from has the focus, also while it rests.
    page.keyboard.press("Enter")
    expect(tab.button("Cancel")).to_be_focused()
    page.keyboard.press("Tab")
    expect(tab.button("Make it")).to_be_focused()
    page.keyboard.press("Enter")
    expect(tab.button("Back up now…")).to_be_focused()
    expect(page.get_by_text("The last backup ended well")).to_be_visible()
    expect(tab.button("Back up now…")).to_be_focused()

    # The new one is the first, or the focus would come back to what was the first.
    expect(menus).to_have_count(before + 1)
    menu = menus.first
    looks.over(menu, "menu")
    for item in ("Verify…", "Verify by restoring it aside…", "Restore runs…"):
        looks.over(menu, "dialog", item)
    menu.press("Enter")
    expect(page.get_by_role("menuitem", name="Verify…", exact=True)).to_be_focused()
    page.keyboard.type("res")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Runs, one a line")).to_be_focused()
    page.keyboard.type("nowhere")
    expect(page.get_by_text("Write NAMESPACE/RUN: nowhere")).to_be_visible()
    looks.at("restore with what is none", "dialog")
    assert not looks.found, looks.found
