"""What a browser shows after a log-in at a provider, and before it: small pages in English or German, without scripts.

`page` gives the body, `HEADERS` go with every one: nothing is loaded from elsewhere, nothing is kept, and the address
with the code in it is told to nobody.
"""

import base64
import hashlib
import html
from string import Template

STYLE = (
    "body{font:17px/1.5 system-ui,sans-serif;margin:0;background:#f3f4f6;color:#1f2933}"
    "main{max-width:34rem;margin:12vh auto;padding:2rem 2.2rem;background:#fff;border-radius:.6rem;"
    "border-top:.35rem solid var(--mark);box-shadow:0 1px 4px #0002}"
    "h1{font-size:1.35rem;margin:0 0 .8rem}p{margin:.6rem 0;overflow-wrap:anywhere}"
    "a.go{display:inline-block;margin-top:.6rem;padding:.5rem 1.2rem;border-radius:.3rem;background:#1d5fa8;color:#fff;"
    "text-decoration:none}small{color:#52606d}"
    ".good{--mark:#2f855a}.bad{--mark:#c53030}.ask{--mark:#1d5fa8}"
    "@media(prefers-color-scheme:dark){body{background:#15181c;color:#e4e7eb}main{background:#22272e}"
    "small{color:#9aa5b1}}"
)
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = (
    ("Content-Type", "text/html; charset=utf-8"),
    ("Content-Security-Policy", f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
                                "frame-ancestors 'none'"),
    ("Cache-Control", "no-store"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
_PAGE = Template(
    '<!doctype html><html lang="$lang"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>$title</title><style>$style</style></head>"
    '<body class="$kind"><main><h1>$title</h1>$text</main></body></html>'
)
# what is said: kind of page, title and sentences; {…} are filled in
_TEXTS: dict[str, dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "done": {
        "en": ("good", "You are logged in", (
            "The mail server can now use {address}.", "You can close this window.")),
        "de": ("good", "Die Anmeldung ist erfolgt", (
            "Der Mailserver kann {address} jetzt verwenden.", "Sie können dieses Fenster schließen.")),
    },
    "failed": {
        "en": ("bad", "The log-in did not work", (
            "{reason}", "What was there before was not changed. Begin again, or ask your administrator.")),
        "de": ("bad", "Die Anmeldung hat nicht geklappt", (
            "{reason}",
            "Was vorher da war, ist unverändert. Beginnen Sie noch einmal oder fragen Sie den Administrator.")),
    },
    "stopped": {
        "en": ("bad", "The log-in was stopped", (
            "What was there before was not changed. Begin again, or ask your administrator.",)),
        "de": ("bad", "Die Anmeldung wurde abgebrochen", (
            "Was vorher da war, ist unverändert. Beginnen Sie noch einmal oder fragen Sie den Administrator.",)),
    },
    "foreign": {
        "en": ("bad", "This answer is not expected", (
            "{reason}", "The log-in that is under way still waits.")),
        "de": ("bad", "Diese Antwort wird nicht erwartet", (
            "{reason}", "Die begonnene Anmeldung wartet weiter.")),
    },
    "start": {
        "en": ("ask", "Log in for your mail", (
            "The mail server wants to fetch and send the mail of {address} and needs your consent at {provider}.",)),
        "de": ("ask", "Anmelden für Ihre E-Mail", (
            "Der Mailserver möchte die E-Mail von {address} abholen und senden und braucht dafür Ihre Zustimmung bei "
            "{provider}.",)),
    },
    "another": {
        "en": ("bad", "This log-in was begun by somebody else", (
            "It belongs to the account {account} here. Log in to our pages as {account} in this browser first, or "
            "begin one of your own there.",)),
        "de": ("bad", "Diese Anmeldung hat jemand anders begonnen", (
            "Sie gehört zum Konto {account}. Melden Sie sich in diesem Browser zuerst auf unseren Seiten als {account} "
            "an, oder beginnen Sie dort eine eigene.",)),
    },
    "gone": {
        "en": ("bad", "This link is no longer good", (
            "It was used already, or it is too old. Ask your administrator for a new one.",)),
        "de": ("bad", "Dieser Link gilt nicht mehr", (
            "Er wurde schon benutzt oder ist zu alt. Bitten Sie den Administrator um einen neuen.",)),
    },
}
_BACK = {"en": "Back to your pages", "de": "Zurück zu Ihren Seiten"}
_GO = {"en": "Go on to {provider}", "de": "Weiter zu {provider}"}


def language(accepted: str) -> str:
    """`de` or `en`, from an Accept-Language header (RFC 9110 §12.5.4)."""
    best, weight = "en", 0.0
    for part in accepted.lower()[:1000].split(","):
        name, _, parameter = part.strip().partition(";")
        try:
            wished = float(parameter.partition("=")[2]) if "q=" in parameter else 1.0
        except ValueError:
            continue
        tongue = name.strip().partition("-")[0]
        if tongue in ("de", "en") and wished > weight:
            best, weight = tongue, wished
    return best


def page(name: str, tongue: str, link: str = "", *, back: str = "", **words: str) -> bytes:
    """A page by its name (of _TEXTS); what is filled in is shown as text, never as HTML. `back` is a path of ours."""
    kind, title, sentences = _TEXTS[name][tongue]
    safe = {key: html.escape(value) for key, value in words.items()}
    text = "".join(f"<p>{sentence.format(**safe)}</p>" for sentence in sentences)
    if link:
        text += f'<p><a class="go" href="{html.escape(link)}">{_GO[tongue].format(**safe)}</a></p>'
    if back:
        text += f'<p><a class="go" href="{html.escape(back)}">{_BACK[tongue]}</a></p>'
    return _PAGE.substitute(lang=tongue, title=title, style=STYLE, kind=kind, text=text).encode()
