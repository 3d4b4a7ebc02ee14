"""What is wrong in an office, or will be, worst first: judged from its `condition`, in English and German."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lanmail.monitoring import condition
from lanmail.monitoring.condition import Condition, Running
from lanmail.settings import Settings

LATE = 300.0  # seconds that a mail may wait for a program that takes it at once
LATE_OUTSIDE = 4 * 3600.0  # for other servers
SOON = 30 * 86400.0  # before the end of the certificate
_MAILBOX = {
    "incomplete": "nicht fertig eingerichtet", "stopped": "angehalten, die Anmeldung wurde zu oft abgelehnt",
    "refused": "die Anmeldung wird abgelehnt", "failing": "das Abholen schlägt fehl",
    "late": "lange nicht abgeholt; läuft lanmail-fetchmail?",
}
_MOST = 20  # of one kind that are told one by one


@dataclass(frozen=True, slots=True)
class Trouble:
    """`fail`: mail stands still or will soon; `warn`: somebody should look. `page`: where to do something about it."""

    level: Literal["fail", "warn"]
    about: str
    english: str
    german: str
    page: str = ""


def of(seen: Condition, loaded: Settings) -> list[Trouble]:
    """All that is wrong."""
    found = [*_programs(seen), *_broken(seen), *_disk(seen, loaded), *_certificate(seen), *_spools(seen, loaded),
             *_mailboxes(seen), *_tokens(seen)]
    return sorted(found, key=lambda one: one.level != "fail")


def described(found: list[Trouble]) -> list[dict[str, str]]:
    """As JSON has them."""
    return [{"level": one.level, "about": one.about, "text": one.english, "text_de": one.german, "page": one.page}
            for one in found]


def _programs(seen: Condition) -> Iterator[Trouble]:
    for one in seen.programs:
        name = f"lanmail-{one.name}"
        if one.state == "silent":
            yield Trouble("fail", one.name, f"{name} hangs: no sign of life since {_clock(one.since)}. Restart it.",
                          f"{name} hängt: kein Lebenszeichen seit {_clock(one.since)}. Starten Sie es neu.")
        elif one.state in ("stopped", "killed") and not _will_come(one):
            how, wie = ("was stopped", "wurde angehalten") if one.state == "stopped" else ("died", "brach ab")
            yield Trouble("fail", one.name, f"{name} does not run: it {how} {_clock(one.since)}. Start it.",
                          f"{name} läuft nicht: Es {wie} am {_clock(one.since)}. Starten Sie es.")
        elif one.state == "never" and one.name == "deliver":
            yield Trouble("fail", one.name, f"{name} never ran here. Start it: lanmail up, or systemd.",
                          f"{name} lief hier noch nie. Starten Sie es: lanmail up oder systemd.")
    versions = sorted({one.version for one in seen.programs if one.slots})
    if len(versions) > 1:
        said = ", ".join(versions)
        yield Trouble("warn", "version", f"Programs of several versions run: {said}. Restart all of them.",
                      f"Es laufen Programme verschiedener Versionen: {said}. Starten Sie alle neu.")


def _will_come(one: Running) -> bool:
    """A restart takes a moment."""
    return time.time() - one.since < 10.0


def _broken(seen: Condition) -> Iterator[Trouble]:
    for name in seen.broken:
        yield Trouble("fail", name, f"conf/accounts/{name}.toml cannot be read; lanmail config check says why.",
                      f"conf/accounts/{name}.toml ist nicht lesbar; lanmail config check sagt, warum.")


def _disk(seen: Condition, loaded: Settings) -> Iterator[Trouble]:
    free, least = seen.disk_free, loaded.smtpd.min_free
    text, german = f"{_size(free)} of the disk are free", f"{_size(free)} der Platte sind frei"
    if free < least:
        yield Trouble("fail", "disk", f"{text}: mail is refused. Make room.",
                      f"{german}: Mails werden abgelehnt. Schaffen Sie Platz.")
    elif free < max(10 * least, seen.disk_total // 20):
        yield Trouble("warn", "disk", f"{text}. Make room before mail is refused.",
                      f"{german}. Schaffen Sie Platz, bevor Mails abgelehnt werden.")


def _certificate(seen: Condition) -> Iterator[Trouble]:
    if seen.certificate is None:
        yield Trouble("fail", "certificate", "The certificate cannot be read; lanmail doctor says why.",
                      "Das Zertifikat ist nicht lesbar; lanmail doctor sagt, warum.")
    elif seen.certificate < seen.at:
        yield Trouble("fail", "certificate", f"The certificate ended {_day(seen.certificate)}. Renew it.",
                      f"Das Zertifikat lief am {_day(seen.certificate)} ab. Erneuern Sie es.")
    elif seen.certificate - seen.at < SOON:
        yield Trouble("warn", "certificate", f"The certificate ends {_day(seen.certificate)}. Renew it.",
                      f"Das Zertifikat läuft am {_day(seen.certificate)} ab. Erneuern Sie es.")


def _spools(seen: Condition, loaded: Settings) -> Iterator[Trouble]:
    page = "/admin/queue"
    if seen.spools["queue"].entries > loaded.smtpd.max_backlog:
        many = seen.spools["queue"].entries
        yield Trouble("fail", "queue", f"{many} mails wait: new ones are refused.",
                      f"{many} Mails warten: Neue werden abgelehnt.", page)
    for name, program in (("queue", "deliver"), ("archive", "archived")):
        one = seen.spools[name]
        if one.oldest > LATE:
            span = _span(one.oldest)
            yield Trouble("warn", name, f"Waiting for lanmail-{program}: {_mails(one.entries)}, the oldest for {span}.",
                          f"Es warten auf lanmail-{program}: {_deutsch(one.entries)}, die älteste seit {span}.", page)
    one = seen.spools["outbound"]
    if one.oldest > LATE_OUTSIDE:
        span = _span(one.oldest)
        yield Trouble("warn", "outbound", f"{_mails(one.entries)} not sent yet, the oldest waits for {span}.",
                      f"{_deutsch(one.entries)} noch nicht gesendet, die älteste wartet seit {span}.", page)
    if seen.spools["hold"].entries:
        many = seen.spools["hold"].entries
        yield Trouble("warn", "hold", f"{_mails(many)} held: a person must look.",
                      f"{_deutsch(many)} angehalten: Ein Mensch muss nachsehen.", page + "?state=held")


def _mailboxes(seen: Condition) -> Iterator[Trouble]:
    wrong = sorted((one for one in seen.mailboxes if one.health.level), key=lambda one: -one.health.level)
    for one in wrong[:_MOST]:
        name, said = f"{one.account}/{one.name}", one.health.text
        yield Trouble("fail" if one.health.level > 1 else "warn", name, f"External mailbox {name}: {said}",
                      f"Externes Postfach {name}: {_MAILBOX.get(one.health.word, '')} ({said})",
                      f"/admin/accounts/{one.account}/sources")
    if len(wrong) > _MOST:
        more = len(wrong) - _MOST
        yield Trouble("warn", "sources", f"{more} more external mailboxes have problems.",
                      f"{more} weitere externe Postfächer haben Probleme.", "/admin/sources")


def _tokens(seen: Condition) -> Iterator[Trouble]:
    wrong = sorted((one for one in seen.grants if one.level), key=lambda one: -one.level)
    for one in wrong[:_MOST]:
        said = condition.said(one)
        again = any(found.again for found in one.findings)
        german = "Jemand muss sich neu anmelden" if again else "Es gibt ein Problem"
        yield Trouble("fail" if one.level > 1 else "warn", one.address, f"Log-in of {one.address}: {said}",
                      f"Anmeldung von {one.address} beim Anbieter: {german} ({said})", "/admin/apps")
    if len(wrong) > _MOST:
        more = len(wrong) - _MOST
        yield Trouble("warn", "tokens", f"{more} more log-ins at providers have problems.",
                      f"{more} weitere Anmeldungen bei Anbietern haben Probleme.", "/admin/apps")


def _mails(many: int) -> str:
    return "1 mail" if many == 1 else f"{many} mails"


def _deutsch(many: int) -> str:
    return "1 Mail" if many == 1 else f"{many} Mails"


def _clock(moment: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


def _day(moment: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(moment))


def _span(seconds: float) -> str:
    return f"{seconds / 86400:.1f} d" if seconds >= 86400 else f"{seconds / 3600:.1f} h" if seconds >= 3600 else (
        f"{seconds / 60:.0f} min")


def _size(octets: int) -> str:
    return f"{octets / (1 << 30):.1f} GB" if octets >= 1 << 30 else f"{octets >> 20} MB"
