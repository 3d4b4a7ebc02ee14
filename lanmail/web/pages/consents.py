"""…/sources/NAME/-consent: the log-in at a provider, by a link there and back, or by an address line that is pasted."""

from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from lanmail.web.api.frame import Refused
from lanmail.web.pages import sources
from lanmail.web.pages.frame import ADMIN, POLICY, Form, Visit, Visitor
from lanmail.web.pages.sources import ACCOUNT, MY

router = APIRouter()


@router.get(f"{MY}/{{source}}/-consent")
@router.get(f"{ACCOUNT}/{{source}}/-consent")
def show(visit: Visitor, source: str, name: str = "") -> Response:
    """What it is for, and the button that begins it."""
    account = visit.about(name)
    return _page(visit, account, visit.call("external.get", account=account, name=source))


def _page(visit: Visit, account: str, known: dict[str, Any], asked: dict[str, Any] | None = None, said: str = "", *,
          sent: bool = False) -> Response:
    if known["consent"] is None:
        raise Refused("refused_by_rule", visit.say(
            "This mailbox is opened with a password, not by a log-in at its provider.",
            "Dieses Postfach wird mit einem Passwort geöffnet, nicht durch eine Anmeldung beim Anbieter."))
    return visit.page("consent.html", status=400 if said else 200, name=account, here=sources.here(visit, account),
                      one=known, asked=asked, sent=sent, problem=said,
                      office=visit.path.startswith(ADMIN), state=sources.state_of(known))


@router.post(f"{MY}/{{source}}/-consent")
@router.post(f"{ACCOUNT}/{{source}}/-consent")
def begin(visit: Visitor, form: Form, source: str, name: str = "") -> Response:
    """On to the provider, or a link for somebody else's browser."""
    account, send = visit.about(name), "send" in form
    known = visit.call("external.get", account=account, name=source)
    try:
        asked = visit.call("external.authorize", account=account, name=source, **({"send": True} if send else {}))
    except Refused as refused:
        return _page(visit, account, known, said=_german(visit, refused))
    link = urlsplit(asked["link"])
    if asked["way"] == "link" and not send and (link.scheme, link.netloc) == (
            visit.request.url.scheme, visit.request.url.netloc):
        return RedirectResponse(link.path, 303, POLICY)
    return _page(visit, account, known, asked, sent=send)


@router.post(f"{MY}/{{source}}/-answer")
@router.post(f"{ACCOUNT}/{{source}}/-answer")
def end(visit: Visitor, form: Form, source: str, name: str = "") -> Response:
    """What the address line said."""
    account = visit.about(name)
    try:
        done = visit.call("external.answer", account=account, name=source, answer=str(form.get("answer", "")))
    except Refused as refused:
        known = visit.call("external.get", account=account, name=source)
        link = str(form.get("link", ""))
        again = {"way": "paste", "link": link if link.startswith("https://") else "",
                 "provider": str(form.get("provider", ""))[:100], "person": known["user"], "address": known["user"]}
        return _page(visit, account, known, again, _german(visit, refused))
    return visit.done(sources.here(visit, account), visit.say(
        f"You are logged in for {done['user']}; its mail is fetched from now on.",
        f"Die Anmeldung für {done['user']} ist erfolgt; die Mails werden ab jetzt abgerufen."))


def _german(visit: Visit, refused: Refused) -> str:
    if visit.language != "de":
        return refused.message
    if refused.field == "user":
        return "Diese Adresse wird hier schon anderswo verwendet; fragen Sie den Administrator."
    if refused.field == "answer":
        return f"So hat es nicht geklappt: {refused.message}"
    return sources.problem(visit, refused, "")


@router.post(f"{MY}/-token")
@router.post(f"{ACCOUNT}/-token")
def token(visit: Visitor, form: Form, name: str = "") -> Response:
    """Renew, sign out or take back a log-in of the account."""
    account = visit.about(name)
    said = carry_out(visit, str(form.get("do", "")), str(form.get("app", "")), str(form.get("address", "")))
    return visit.done(sources.here(visit, account), said)


def carry_out(visit: Visit, do: str, app: str, address: str) -> str:
    """What was done with a log-in, in a sentence. Refused."""
    if do == "refresh":
        visit.call("oauth_token.refresh", app=app, address=address)
        return visit.say(f"The token of {address} is being renewed.", f"Das Token von {address} wird erneuert.")
    if do == "revoke":
        done = visit.call("oauth_token.revoke", app=app, address=address)
        if done["problem"]:
            return visit.say(
                f"The provider did not take it back: {done['problem']}. The tokens of {address} here are deleted all "
                "the same.", f"Der Anbieter hat es nicht zurückgenommen: {done['problem']}. Die Tokens von {address} "
                "sind hier trotzdem gelöscht.")
        return visit.say(f"Taken back at the provider; the tokens of {address} are deleted.",
                         f"Beim Anbieter zurückgenommen; die Tokens von {address} sind gelöscht.")
    done = visit.call("oauth_token.sign_out", app=app, address=address)
    more = visit.say(f" Your browser's own session at the provider ends here: {done['end_session_url']}",
                     f" Die Sitzung des Browsers beim Anbieter endet hier: {done['end_session_url']}") \
        if done["end_session_url"] else ""
    return visit.say(f"Signed out; the tokens of {address} are deleted.",
                     f"Abgemeldet; die Tokens von {address} sind gelöscht.") + more
