"""One Chromium for a module, and tabs that write down everything that goes wrong in them."""

import contextlib
import tempfile
from collections.abc import Iterator
from typing import Any

from playwright import sync_api

from tests import browser

SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage")
WIDE, NARROW = {"width": 1200, "height": 900}, {"width": 390, "height": 844}
GRAVE = ("serious", "critical")
_AXE = """async (only) => (await axe.run(document, only.length ? {runOnly: only, resultTypes: ["violations"]}
                                                        : {resultTypes: ["violations"]})).violations
    .map((one) => ({id: one.id, impact: one.impact, where: one.nodes.map((node) => node.html.slice(0, 200)),
                    why: one.nodes[0] ? one.nodes[0].failureSummary : ""}))"""
_WIDER = """() => [...document.querySelectorAll("body *")].filter((one) => {
    const box = one.getBoundingClientRect();
    return box.width > 0 && box.right > innerWidth + 1 && getComputedStyle(one).position !== "absolute";
}).slice(0, 3).map((one) => one.outerHTML.slice(0, 120))"""


@contextlib.contextmanager
def running() -> Iterator[sync_api.Browser]:
    """The browser, with a home of its own that goes with it."""
    path = browser.chromium()
    with tempfile.TemporaryDirectory() as home, sync_api.sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=path, args=list(SWITCHES), env={"HOME": home})
        yield one
        one.close()


class Tab:
    """A tab of somebody: `page` is Playwright's, `wrong` what the browser complained about."""

    def __init__(self, chrome: sync_api.Browser, url: str, *, language: str = "de-DE", **more: Any) -> None:
        self.url = url
        self.context = chrome.new_context(locale=language, base_url=url, viewport=WIDE, **more)
        self.context.set_default_timeout(20_000)
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))
        self.page.on("dialog", self._asked)
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._answered)

    def _said(self, message: sync_api.ConsoleMessage) -> None:
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.wrong.append(f"console: {message.text}")

    def _asked(self, dialog: sync_api.Dialog) -> None:
        self.wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _failed(self, request: sync_api.Request) -> None:
        if request.resource_type != "document" and request.failure != "net::ERR_ABORTED":
            self.wrong.append(f"not loaded: {request.url} {request.failure}")

    def _answered(self, answer: sync_api.Response) -> None:
        if answer.status >= 500 or (answer.status >= 400 and answer.request.resource_type != "document"):
            self.wrong.append(f"{answer.status}: {answer.url}")

    def go(self, path: str) -> sync_api.Response:
        """Open a page of ours."""
        answer = self.page.goto(path, wait_until="load")
        assert answer is not None
        return answer

    def login(self, name: str, password: str) -> None:
        """By the log-in page, as people do."""
        self.go("/login")
        self.page.fill("input[name=user]", name)
        self.page.fill("input[name=password]", password)
        self.page.click("main button")
        assert "/login" not in self.page.url, self.page.inner_text("main")

    def barriers(self, *only: str) -> list[str]:
        """What axe-core calls serious or critical on the page that is open; `only` these rules."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(browser.axe())  # by DevTools: the page's own policy is neither asked nor changed
        found = self.page.evaluate(_AXE, list(only))
        return [f"{one['id']} ({one['impact']}): {one['where'][:3]} {one['why']}" for one in found
                if one["impact"] in GRAVE]

    def too_wide(self) -> list[str]:
        """What sticks out on the right of a telephone, if anything does."""
        self.page.set_viewport_size(NARROW)
        try:
            wide = self.page.evaluate("document.documentElement.scrollWidth")
            return [f"{wide} px: {self.page.evaluate(_WIDER)}"] if wide > NARROW["width"] else []
        finally:
            self.page.set_viewport_size(WIDE)
