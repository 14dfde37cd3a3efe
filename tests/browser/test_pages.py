# SPDX-FileCopyrightText: 2026 The Leasehold contributors
# SPDX-License-Identifier: Apache-2.0
"""The pages in a real browser: with scripts and without, by keyboard alone, light and dark, narrow and wide."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from app.db.reservation import Reservation
from app.db.resource import Resource
from tests.factories import PASSWORD, book_now, make_resource, public_key
from tests.web.conftest import Site, new_site, sqlite_site

# The fixtures of the other page tests; named here so that pytest finds them.
__all__ = ["new_site", "sqlite_site"]

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
]
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, sqlite_site: Site) -> Iterator[Callable[..., Page]]:
    """`open_page(name, **context options)`: a window in which that account is logged in. Complaints fail the test."""
    contexts, complaints = [], []

    def make(name: str | None, **options: Any) -> Page:
        context = browser.new_context(base_url=sqlite_site.base, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.on(
            "console", lambda message: complaints.append(message.text) if message.type == "error" else None
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if name is not None:
            page.goto("/login")
            page.fill("#name", name)
            page.fill("#password", PASSWORD)
            page.click("main button")
            page.wait_for_url("**/")
        return page

    yield make
    for context in contexts:
        context.close()
    # What the tests bring about themselves: refused forms, and a network that is off.
    expected = ("status of 4", "ERR_INTERNET_DISCONNECTED", "htmx:afterRequest", "htmx:sendError")
    refused = [text for text in complaints if not any(known in text for known in expected)]
    assert refused == [], "the browser complained (the content security policy, a script)"


def fill_in(page: Page, name: str) -> None:
    end = datetime.now(UTC) + timedelta(hours=2)
    page.fill("#name", name)
    page.fill("#end", f"{end:%Y-%m-%dT%H:%M}")
    page.fill("#groups-0-memory_mib", "512")
    page.fill("#users", f"alice {public_key()}")


@pytest.mark.parametrize("scripts", [True, False])
def test_a_cluster_is_asked_for_mended_and_approved(open_page: Callable[..., Page], scripts: bool):
    anna = open_page("anna", java_script_enabled=scripts)
    anna.click("a:text-is('Ask for a cluster')")
    fill_in(anna, "Not A Name")
    anna.click("button[value=ask]:not(.unseen)")
    summary = anna.locator(".summary")
    expect(summary).to_contain_text("must start with a lower-case letter")
    summary.locator("a").first.click()
    expect(anna.locator("#name")).to_have_value("Not A Name")
    expect(anna.locator("#users")).to_have_value(re.compile("alice ssh-ed25519"))
    anna.fill("#name", "vc-42")
    anna.click("button[value=ask]:not(.unseen)")
    anna.wait_for_url(re.compile(r"/reservations/\d+$"))
    expect(anna.locator("#live")).to_contain_text("Needs approval by a cluster provider")
    carla = open_page("carla", java_script_enabled=scripts)
    carla.click("nav >> text=Approvals")
    carla.click("text=Approve vc-42")
    expect(carla.locator("main")).to_contain_text("Approved. Building begins")
    if not scripts:
        anna.click("text=reload")
    expect(anna.locator("#live")).to_contain_text("Approved by carla", timeout=30_000)


def test_a_cluster_is_asked_for_by_keyboard_alone(open_page: Callable[..., Page]):
    page = open_page("anna")
    page.goto("/reservations/new")

    def tab_to(selector: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate(
                "document.activeElement.matches(arguments_)".replace("arguments_", f"'{selector}'")
            ):
                return
        raise AssertionError(f"the keyboard never reaches {selector}")

    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip", "first comes the way past the menu"
    page.keyboard.press("Enter")
    for selector, text in (
        ("#name", "by-keys"),
        ("#groups-0-memory_mib", "512"),
        ("#users", f"alice {public_key()}"),
    ):
        tab_to(selector)
        page.keyboard.press("Control+a")
        page.keyboard.type(text)
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", f"nothing shows that {selector} has the focus"
    tab_to("button[value=ask]")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/reservations/\d+(#main)?$"))


def test_progress_moves_by_itself_and_says_when_the_connection_is_lost(
    open_page: Callable[..., Page], sqlite_site: Site
):
    number = book_now(sqlite_site.database, sqlite_site.accounts["anna"], name="vc-42")
    with sqlite_site.database.writing() as session:
        row = session.get_one(Reservation, number)
        row.state, row.building_at, row.why = "building", datetime.now(UTC), None
    step = make_resource(
        sqlite_site.database, sqlite_site.hosts["gw1"], number, "domain", label="guest frontend on gw1"
    )
    page = open_page("anna")
    page.goto(f"/reservations/{number}")
    expect(page).to_have_title("(0/1) Building — vc-42")
    with sqlite_site.database.writing() as session:
        resource = session.get_one(Resource, step.id)
        resource.have, resource.started_at, resource.present_at = "present", row.building_at, row.building_at
    expect(page.locator(".steps")).to_contain_text("done", timeout=30_000)
    expect(page).to_have_title("(1/1) Building — vc-42")
    expect(page.locator("#lost")).to_be_hidden()
    page.context.set_offline(True)
    expect(page.locator("#lost")).to_be_visible(timeout=60_000)
    page.context.set_offline(False)
    expect(page.locator("#lost")).to_be_hidden(timeout=30_000)
    with sqlite_site.database.writing() as session:
        session.get_one(Reservation, number).state = "ended"
    expect(page.locator("#announce")).to_contain_text("vc-42: Ended.", timeout=30_000)
    assert page.locator("#live").get_attribute("hx-trigger") is None, "polling ends with the reservation"


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("light", 360), ("dark", 1280), ("dark", 360)]
)
def test_nothing_sticks_out_and_all_text_can_be_read(
    open_page: Callable[..., Page], sqlite_site: Site, scheme: str, width: int
):
    number = book_now(sqlite_site.database, sqlite_site.accounts["anna"], name="a" * 30, note="x" * 300)
    key = f"ssh-ed25519 {'A' * 68}"
    with sqlite_site.database.writing() as session:
        row = session.get_one(Reservation, number)
        row.state, row.public_address, row.host_public_key = "ready", "198.19.0.101", key
    book_now(sqlite_site.database, sqlite_site.accounts["anna"], name="b" * 30, note="y" * 300)
    for index, have in enumerate(("present", "pending", "absent", "unknown")):
        make_resource(
            sqlite_site.database,
            sqlite_site.hosts["st1"],
            number,
            "file",
            name=f"lh{number}-{'v' * 60}-{index}",
            have=have,
            args={"size_mib": 4096},
            error_code="no_space" if have == "unknown" else None,
            error_message="/a/very/long/path" * 20 if have == "unknown" else None,
        )
    page = open_page("carla", color_scheme=scheme, viewport={"width": width, "height": 800})
    for path in (
        "/",
        "/reservations?state=all",
        "/reservations/new",
        "/reservations/new?groups-0-name=node&groups-0-pin=c1&groups-1-name=big&groups-1-tags=gpu",
        f"/reservations/{number}",
        f"/reservations/{number}/history",
        f"/reservations/{number}/cancel",
        "/admin/approvals",
        "/admin/hosts",
        "/admin/volumes",
        "/admin/workers",
        "/nothing",
    ):
        page.goto(path)
        assert page.evaluate(TOO_WIDE) == [], f"{path} has to be scrolled sideways"
        assert page.evaluate(POOR_CONTRAST) == [], f"{path} has text that is hard to read"
        assert page.evaluate(NAMELESS) == [], f"{path} has a control without a name"


# What sticks out of the window, the page itself included; tables may scroll in a box of their own.
TOO_WIDE = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.querySelectorAll("body *")].filter(node => node.getBoundingClientRect().right > width)
    .map(node => node.outerHTML.slice(0, 100));
}"""
# WCAG 2.2, 1.4.3: text stands out from what is behind it by 4.5 to 1.
POOR_CONTRAST = """() => {
  const channel = c => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !node.checkVisibility() || node.closest("script, option")) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) poor.push(`${walker.currentNode.data.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return poor;
}"""
# WCAG 2.2, 4.1.2: every field, button and link has a name that can be read aloud.
NAMELESS = """() => [...document.querySelectorAll("a, button, input:not([type=hidden]), select, textarea, nav")]
  .filter(node => !(node.innerText || "").trim() && !node.getAttribute("aria-label")
                  && !(node.labels && node.labels.length))
  .map(node => node.outerHTML.slice(0, 80))"""
