"""The pages of workers and access, by click: tokens, certificates, keys, what the audit log says, and for whom."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, expect

from tests.browser.tab import Site, Tab
from tests.e2e.machine import until
from tests.e2e.two_machines import Host

NAME = "machine seven"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Another machine, for a worker."""
    made = Host(tmp_path / "host", "127.0.0.1")
    yield made
    made.close()


def row_of(tab: Tab, text: str) -> Locator:
    """The row of a list that says it."""
    return tab.page.get_by_role("row").filter(has_text=text)


def go(tab: Tab, name: str) -> None:
    """Follows the link to a page."""
    tab.page.get_by_role("navigation").get_by_role("link", name=name).click()
    expect(tab.page.get_by_role("heading", level=1, name=name)).to_be_visible()


def said(tab: Tab, text: str) -> None:
    """Waits until a note says what was done."""
    expect(tab.page.locator(".mantine-Notification-root").filter(has_text=text)).to_be_visible()


def answer(tab: Tab, act: str) -> None:
    """Presses a button of the question that is open, and waits until it is gone."""
    dialog = tab.page.get_by_role("dialog")
    dialog.get_by_role("button", name=act, exact=True).click()
    expect(dialog).to_have_count(0)


def status_with(tab: Tab, token: str) -> int:
    """What the leader answers to somebody with a token."""
    status = tab.page.evaluate(
        """async (token) => (await fetch('/api/v1/whoami',
        {headers: {Authorization: `Bearer ${token}`}, credentials: 'omit'})).status""",
        token,
    )
    assert isinstance(status, int)
    return status


def make_token(tab: Tab) -> str:
    """Fills the form in; the secret that is shown once."""
    page = tab.page
    tab.open("access")
    tab.button("New token").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox", name="Name").fill(NAME)
    dialog.get_by_role("combobox", name="Role").click()
    page.get_by_role("option", name=re.compile("^writer")).click()
    # Quotas that were thought better of.
    tab.button("Quotas").click()
    dialog.get_by_label("GiB a day").fill("5")
    tab.button("No quotas").click()
    tab.button("Make the token").click()
    expect(dialog).to_contain_text("This is the only time that it is shown")
    secret = dialog.get_by_label("The token").inner_text().strip()
    tab.button("Copy").click()
    expect(tab.button("Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == secret
    # It can't be closed by accident.
    page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    answer(tab, "I have it")
    return secret


def test_a_token_of_this_page_lets_a_worker_in_until_it_is_revoked(site: Site, tab: Tab, host: Host) -> None:
    page = tab.page
    secret = make_token(tab)
    token = row_of(tab, NAME)
    for text in ("writer on all namespaces", "good", "in 29 d"):
        expect(token).to_contain_text(text)
    expect(token).not_to_contain_text("GiB")
    assert secret.split(".")[2] not in page.content()
    page.reload()
    expect(token).to_be_visible()
    assert secret.split(".")[2] not in page.content()
    assert status_with(tab, secret) == 200

    (host.folder / "token").write_text(secret)
    host.start("worker", "--join-file", str(host.folder / "token"))
    until((host.data_dir / "worker" / "identity" / "certificate.pem").exists, "the worker has joined")
    page.get_by_role("tab", name="Certificates").click()
    certificate = row_of(tab, f"joined with token {secret.split('.')[1]}")
    expect(certificate).to_contain_text("good")
    worker_id = certificate.get_by_role("cell").first.inner_text().splitlines()[0]
    for act in ("Cancel", "Revoke"):
        certificate.get_by_role("button").click()
        expect(page.get_by_role("dialog")).to_contain_text(f"Revoke this certificate of {worker_id}?")
        answer(tab, act)
    said(tab, f"The certificate of {worker_id} is revoked; streams that came with it end")
    # While its token is good, it gets another one; as the question says.
    until(lambda: host.said().count("has joined the leader") == 2, "the worker has joined again")
    page.reload()
    expect(certificate).to_have_count(2)
    expect(certificate.filter(has_text="revoked")).to_have_count(1)

    # All certificates of the worker.
    go(tab, "Workers")
    worker = row_of(tab, worker_id)
    expect(worker).to_contain_text("connected")
    menu = tab.button(f"What can be done with {worker_id}")
    for act in ("Cancel", "Revoke"):
        menu.click()
        page.get_by_role("menuitem", name="Revoke its certificates").click()
        expect(page.get_by_role("dialog")).to_contain_text(f"revoke the token, too ({secret.split('.')[1]}")
        answer(tab, act)
    said(tab, f"All certificates of {worker_id} are revoked; its streams end")

    # The token.
    go(tab, "Access")
    for act in ("Cancel", "Revoke"):
        expect(token).to_contain_text("good")
        tab.button(f"Revoke {NAME}").click()
        expect(page.get_by_role("dialog")).to_contain_text("This can't be undone")
        answer(tab, act)
    said(tab, f"{NAME} is revoked, with its certificates and sessions")
    expect(token).to_have_count(0)
    assert status_with(tab, secret) == 401
    page.get_by_text("All", exact=True).click()
    expect(token).to_contain_text("revoked")
    expect(token.get_by_role("button")).to_have_count(0)
    go(tab, "Workers")
    for text in ("gone", "revoked"):
        expect(worker).to_contain_text(text)
    expect(menu).to_have_count(0)

    # Whoever looks later finds all of it.
    go(tab, "Access")
    page.get_by_role("tab", name="Audit log").click()
    for choice, actions in (
        ("Tokens", ("token.create", "token.revoke")),
        ("Joining of workers", ("join",)),
        ("Certificates", ("certificate.revoke",)),
    ):
        page.get_by_role("combobox", name="Which actions").click()
        page.get_by_role("option", name=choice, exact=True).click()
        for action in actions:
            wanted = secret.split(".")[1] if choice == "Tokens" else worker_id
            expect(row_of(tab, action).filter(has_text=wanted).first).to_contain_text("ok")


def test_an_operator_revokes_certificates_and_rotates_keys(site: Site, new_tab: Callable[..., Tab]) -> None:
    tab = new_tab(token=site.token("operator"))
    page = tab.page
    tab.open("access")
    expect(page.get_by_role("tab")).to_have_text(["Certificates", "Roles"])
    expect(page.get_by_role("button", name=re.compile("^Revoke the certificate")).first).to_be_visible()
    tab.open("storage")
    keys = page.get_by_role("region", name="Store keys")
    before = keys.get_by_role("row").filter(has_text="current").get_by_role("cell").first.inner_text()
    for act in ("Cancel", "Make it"):
        tab.button("Rotate…").click()
        expect(page.get_by_role("dialog")).to_contain_text("Nothing needs to be restarted")
        answer(tab, act)
    said(tab, "was made; new logs use it")
    current = keys.get_by_role("row").filter(has_text="current").get_by_role("cell").first
    expect(current).not_to_have_text(before)
    note = page.locator(".mantine-Notification-root").inner_text()
    assert current.inner_text() in note

    admin = new_tab()
    admin.open("access?tab=audit")
    admin.page.get_by_role("combobox", name="Which actions").click()
    admin.page.get_by_role("option", name="Keys").click()
    expect(row_of(admin, "keys.rotate").first).to_contain_text("a operator")


@pytest.mark.parametrize("role", ["viewer", "reader"])
def test_others_are_told_that_these_pages_are_not_theirs(site: Site, new_tab: Callable[..., Tab], role: str) -> None:
    tab = new_tab(token=site.token(role))
    refused: list[str] = []
    tab.page.on("response", lambda reply: refused.append(reply.url) if reply.status == 403 else None)
    theirs = {"workers", "storage", "access", "access?tab=audit", *(("search",) if role == "viewer" else ())}
    for path in sorted(theirs):
        tab.open(path)
        expect(tab.page.get_by_role("heading", name="Your account may not see this")).to_be_visible()
        expect(tab.page.get_by_role("main")).to_contain_text("ask an administrator for a role")
    # Nothing was even asked for.
    assert not refused, refused


def test_whose_token_is_revoked_signs_in_again_with_another_one(site: Site, new_tab: Callable[..., Tab]) -> None:
    token = site.token("viewer")
    tab = new_tab(token=token)
    tab.open("runs?state=failed")
    expect(tab.button("Account: a viewer")).to_be_visible()
    site.machine.call("token", "revoke", token.split(".")[1])
    expect(tab.page).to_have_url(re.compile("/login[?]to="))
    tab.page.get_by_label("Token", exact=True).fill(site.token("reader"))
    tab.page.keyboard.press("Enter")
    expect(tab.button("Account: a reader")).to_be_visible()
    assert tab.page.url.endswith("/runs?state=failed")
    expect(tab.page.get_by_role("navigation").get_by_role("link")).to_have_text(["Runs", "Search"])
