"""`lanmail oauth login`: somebody's consent, by a browser here, a link, a code, or a pasted answer."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click

from lanmail import accounts, notice
from lanmail.cli import command
from lanmail.cli.oauth import finding
from lanmail.errors import MailError
from lanmail.oauth import authorization, consent, device, loopback, pages, trial, uses
from lanmail.oauth.apps import App
from lanmail.oauth.authorization import Answer, Asked, Declined, Foreign
from lanmail.oauth.endpoint import Tokens
from lanmail.oauth.pending import Folder, Wish
from lanmail.oauth.store import Store
from lanmail.paths import Paths

PATIENCE = 900
Got = tuple[Tokens, str]  # and the nonce that its id_token must have


@click.command()
@click.argument("address")
@click.option("--app", "app_name", default="", help="The app; needed when there are several.")
@click.option("--device", "way", flag_value="device", help="Show a code to be typed in any browser.")
@click.option("--link", "way", flag_value="link", help="Show a link for a browser on this machine (the default).")
@click.option("--paste", "way", flag_value="paste", help="Show a link, and ask for what the browser came back with.")
@click.option("--mail", "way", flag_value="mail", help="Send the link by mail to the account, and end.")
@click.option("--as", "login_as", metavar="LOGIN", default="", help="Who logs in there, if not ADDRESS.")
@click.option("--mailbox", default="", help="The mailbox to name to mail servers, if not ADDRESS (shared mailboxes).")
@click.option("--account", default="", help="The local account that is told when the log-in ends.")
@click.option("--no-test", is_flag=True, help="Do not try the token at the mail servers before it counts.")
@click.option("--timeout", default=PATIENCE, show_default=True, help="Seconds to wait for the person.")
@command.rooted
def login(where: Paths, address: str, app_name: str, way: str | None, login_as: str, mailbox: str, account: str,
          no_test: bool, timeout: int) -> None:
    """Log in at the provider of ADDRESS, so that its mail can be fetched and sent.

    Somebody has to log in there in a browser and agree. Only when everything is as it must be (the right person, all
    scopes, and the mail servers take the token) the new log-in replaces the one before. Exit code 1: it counts, but one
    of the mail servers refused it; 77: the person or the provider declined.
    """
    loaded = command.settings_of(where)
    wish = finding.wish(where, address, app_name, login_as, mailbox, account)
    if wish.account and accounts.Directory(where, lambda: loaded).account(wish.account) is None:
        command.fail(f"there is no account {wish.account!r}", os.EX_NOUSER)
    app = finding.app_of(where, wish.app)
    command.become_owner_of(where.state)
    Store(where).prepare()
    if way == "mail":
        _mail(where, app, wish)
        return
    servers = [] if no_test else uses.servers(where, loaded, app, wish)
    run = _Run(where, app, wish, servers, timeout)
    try:
        results = asyncio.run(run.go(way or _usual(app)))
    except Declined as error:
        command.fail(error.text, os.EX_NOPERM)
    except TimeoutError:
        command.fail(f"nobody logged in within {timeout} seconds; begin again", os.EX_TEMPFAIL)
    except consent.Unfit as error:
        show(error.results)
        advice = f"\n{error.advice}" if error.advice else ""
        command.fail(f"{error.text}{advice}\nnothing was changed", os.EX_DATAERR)
    show(results)
    uses.fetch_now(where, loaded, wish)
    if not results and not no_test:
        click.echo("not tried: no mail server is known for it; name one in conf, or try later with "
                   f"{command.typed()} oauth test {wish.address}")
    click.echo(f"{wish.address} is logged in with app {app.name}")
    if any(one.verdict != "ok" for one in results):
        click.get_current_context().exit(1)


def _usual(app: App) -> str:
    """The way when none was said: a code where there is no browser on this machine and the provider has codes."""
    if not app.authorize_url:
        return "device"
    if not authorization.is_loopback(app.redirect_uri or consent.REDIRECT):
        return "paste"
    return "device" if app.device_url and "SSH_CONNECTION" in os.environ else "link"


def show(results: Iterable[trial.Result]) -> None:
    """What mail servers said."""
    for one in results:
        word = {"ok": "ok", "refused": "refused", "unreachable": "not reached"}[one.verdict]
        click.echo(f"{one.server}: {word}: {one.text}")
        if one.advice:
            click.echo(f"  {one.advice}")


class _Run:
    """One log-in."""

    def __init__(self, where: Paths, app: App, wish: Wish, servers: list[trial.Server], patience: float) -> None:
        self._where, self._app, self._wish, self._servers, self._patience = where, app, wish, servers, patience

    async def go(self, way: str) -> list[trial.Result]:
        """Declined, Unfit, TimeoutError, MailError."""
        if not self._app.needs_person:
            return await self._settle((await consent.without_person(self._where, self._app, self._wish), ""))
        if way == "device":
            try:
                return await self._settle(await self._by_device())
            except device.Blocked as error:
                if not self._app.authorize_url:
                    raise
                click.echo(f"no log-in by a code: {error.text}\nby a link, then:\n")
        if way == "paste" or not authorization.is_loopback(self._app.redirect_uri or consent.REDIRECT):
            return await self._by_paste()
        return await self._by_link()

    async def _settle(self, got: Got) -> list[trial.Result]:
        tokens, nonce = got
        return await consent.settle(self._where, self._app, self._wish, tokens, self._servers, nonce, click.echo)

    async def _by_device(self) -> Got:
        code = await device.begin(self._app, self._where)
        click.echo(f"Open this page in any browser, on any machine:\n\n    {code.link or code.page}\n")
        click.echo(f"type this code there:\n\n    {code.user}\n\nand log in as {self._wish.person}. Waiting …")
        async with asyncio.timeout(self._patience):
            return await device.wait(self._app, self._where, code), ""

    async def _by_paste(self) -> list[trial.Result]:
        asked = consent.ask(self._where, self._app, self._wish)
        click.echo(_instructions(asked, self._wish))
        click.echo("The browser then shows a page, or says that it cannot be reached, which is as it should be.\n"
                   "Copy the whole address line of that page. (The answer to a link that was mailed is good, too.)\n")
        while True:
            text = await asyncio.to_thread(click.prompt, "address line", prompt_suffix=": ")
            try:
                pending, code = consent.answered(self._where, self._app, text, self._wish)
            except Foreign as error:
                click.echo(f"lanmail: {error.text}", err=True)
                continue
            assert pending.asked is not None
            return await self._settle(await self._redeem(pending.asked, code))

    async def _redeem(self, asked: Asked, code: str) -> Got:
        try:
            return await consent.redeem(self._where, self._app, asked, code), asked.nonce
        finally:
            Folder(self._where).over(asked)  # a code works once

    async def _by_link(self) -> list[trial.Result]:
        asked: Asked | None = None

        def accept(answer: Answer) -> str:
            assert asked is not None
            return authorization.judge(answer, asked, self._app.issuer)

        async with loopback.Listener(self._app.redirect_uri or consent.REDIRECT, accept) as listener:
            asked = consent.ask(self._where, self._app, self._wish, listener.redirect)
            click.echo(_instructions(asked, self._wish))
            click.echo(_elsewhere(listener.redirect))
            try:
                used, code = await self._code(listener, asked)
                results = await self._settle(await self._redeem(used, code))
            except MailError as error:
                reason = error.text
                listener.tell(lambda tongue: pages.page("failed", tongue, reason=reason))
                raise
            finally:
                Folder(self._where).over(asked)
            listener.tell(lambda tongue: pages.page("done", tongue, address=self._wish.address))
            return results

    async def _code(self, listener: loopback.Listener, asked: Asked) -> tuple[Asked, str]:
        """From the browser, or pasted on the terminal, whatever comes first."""
        pasted: asyncio.Future[tuple[Asked, str]] = asyncio.get_running_loop().create_future()
        either: list[asyncio.Future[Any]] = [listener.code, pasted]
        with _typing(lambda line: self._typed(line, pasted)):
            await asyncio.wait(either, timeout=self._patience, return_when=asyncio.FIRST_COMPLETED)
        if pasted.done():
            return pasted.result()
        if not listener.code.done():
            raise TimeoutError
        return asked, listener.code.result()

    def _typed(self, line: str, pasted: "asyncio.Future[tuple[Asked, str]]") -> None:
        try:
            pending, code = consent.answered(self._where, self._app, line, self._wish)
        except Foreign as error:
            click.echo(f"lanmail: {error.text}", err=True)
        except MailError as error:
            pasted.set_exception(error)
        else:
            if pending.asked is not None and not pasted.done():
                pasted.set_result((pending.asked, code))


@contextlib.contextmanager
def _typing(take: Callable[[str], None]) -> Iterator[None]:
    """Call `take` with what a person types meanwhile; without a terminal there is nobody."""
    if not sys.stdin.isatty():
        yield
        return
    loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()

    def read() -> None:
        text = os.read(descriptor, 16 << 10).decode("utf-8", "replace")
        if not text:
            loop.remove_reader(descriptor)
        elif text.strip():
            take(text)

    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)


def _instructions(asked: Asked, wish: Wish) -> str:
    return f"Open this link in a browser and log in as {wish.person}:\n\n{asked.url}\n"


def _elsewhere(redirect: str) -> str:
    """What to do when the browser is not on this machine."""
    port = redirect.rsplit(":", 1)[-1].strip("/")
    return (f"Waiting for the browser at {redirect}. If it runs on another machine, first open a way there:\n\n"
            f"    ssh -L {port}:localhost:{port} THIS-MACHINE\n\n"
            "or copy the address line of the page that cannot be reached, and paste it here.\n")


def _mail(where: Paths, app: App, wish: Wish) -> None:
    """The link by local mail."""
    loaded = command.settings_of(where)
    directory = accounts.Directory(where, lambda: loaded)
    account = wish.account or directory.postmaster()
    if account is None:
        command.fail("to whom? name an account with --account", os.EX_USAGE)
    if not app.needs_person or not app.authorize_url:
        command.fail(f"app {app.name} has no link that could be mailed", os.EX_USAGE)
    asked = consent.ask(where, app, wish)
    paste = f"{command.typed()} oauth login {wish.address} --app {app.name} --paste"
    text = (f"The mail server needs a log-in at {app.title or app.name} for {wish.address}, so that its mail can be\n"
            f"fetched and sent. Open this link within three days, and log in as {wish.person}:\n\n{asked.url}\n\n"
            "The browser then shows a page, or says that it cannot be reached, which is as it should be. Copy the\n"
            "whole address line of that page and give it to the administrator, who types\n\n"
            f"    {paste}\n\nand pastes it there. Give it to nobody else.\n")
    notice.put(where, loaded, account, f"Please log in for {wish.address}", text, "oauth-consent")
    click.echo(f"the link is on its way to {account}; with the answer: {paste}")
