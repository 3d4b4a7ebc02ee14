"""Mail as an office gets it, made from a number: the same number gives the same message.

    message(number) -> bytes       in LF form, 2 to 60 KB, 10 KB in the mean; every tenth has an attachment
    plain(octets) -> bytes         plain text of about that size
"""

import base64
import quopri
import random

PEOPLE = ("Anna Müller", "Jürgen Schmidt", "Sabine Weiß", "Max Meier", "Käthe Krüger", "Peter Hofmann", "Zoë Schäfer")
WORDS = [
    "Angebot", "Rechnung", "Lieferung", "Termin", "Besprechung", "Protokoll", "Anfrage", "Büro", "Schlüssel", "Straße",
    "Größe", "Prüfung", "Änderung", "Vertrag", "Projekt", "Kunde", "Zahlung", "Urlaub", "Lager", "Server", "Netzwerk",
    "Wartung", "Entwurf", "Montag", "and", "the", "quick", "report", "please", "attached", "minutes", "of", "meeting",
]
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
RARE = "Zahnradgetriebe"  # in every hundredth subject and every hundredth body


def message(number: int) -> bytes:
    """One message."""
    dice = random.Random(number)
    kind = number % 10
    text = _text(dice, dice.randrange(1000, 5000))
    if number % 100 == 7:
        text += f"\n{RARE}\n"
    subject = " ".join(dice.choices(WORDS, k=5)) + (f" {RARE}" if number % 100 == 3 else "")
    head = _head(dice, number, subject)
    if kind < 3:
        ascii_text = text.encode("ascii", "replace")
        return head + b"Content-Type: text/plain; charset=us-ascii\n\n" + ascii_text
    if kind < 5:
        return head + (b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n"
                       + text.encode())
    if kind < 7:
        return head + (b"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\n"
                       + quopri.encodestring(text.encode("latin-1")))
    alternative = _multipart("alternative", [_plain_part(text), _html_part(text)], f"a{number}")
    if kind < 9:
        return head + alternative
    return head + _multipart("mixed", [alternative, _attachment(dice, number)], f"m{number}")


def plain(octets: int) -> bytes:
    """A small plain message of about that size."""
    head = b"From: a@lan.test\nTo: b@lan.test\nSubject: plain\nDate: Mon, 3 Nov 2025 10:00:00 +0100\n\n"
    line = b"x" * 70 + b"\n"
    return head + line * ((octets - len(head)) // len(line))


def _head(dice: random.Random, number: int, subject: str) -> bytes:
    sender, *to = dice.choices(PEOPLE, k=dice.randrange(2, 5))
    day = 1 + number % 28
    lines = [
        f"Return-Path: <{_address(sender)}>",
        f"Received: from mx.example.org (mx.example.org [192.0.2.{number % 250}])\n\tby mail.lan.test with ESMTPS "
        f"id {number:08x}\n\tfor <u0@lan.test>; {DAYS[day % 7]}, {day} Nov 2025 10:00:00 +0100",
        f"Date: {DAYS[day % 7]}, {day} Nov 2025 10:{number % 60:02d}:00 +0100",
        f"From: {_words(sender)} <{_address(sender)}>",
        "To: " + ",\n\t".join(f"{_words(one)} <{_address(one)}>" for one in to),
        f"Subject: {_words(subject)}",
        f"Message-ID: <{number}.{dice.randrange(1 << 40):x}@example.org>",
    ]
    if number % 3 == 0:
        references = "\n\t".join(f"<{number - step}.ref@example.org>" for step in range(1, 1 + number % 7))
        lines += [f"In-Reply-To: <{number - 1}.ref@example.org>", f"References: {references}"]
    return "\n".join([*lines, "MIME-Version: 1.0", "X-Mailer: Office 16.0", ""]).encode()


def _words(text: str) -> str:
    """RFC 2047 where it is needed."""
    if text.isascii():
        return text
    pieces = [text[start : start + 30].encode() for start in range(0, len(text), 30)]
    return "\n ".join(f"=?utf-8?B?{base64.b64encode(piece).decode()}?=" for piece in pieces)


def _address(name: str) -> str:
    return name.encode("ascii", "ignore").decode().lower().replace(" ", ".") + "@example.org"


def _text(dice: random.Random, octets: int) -> str:
    words = dice.choices(WORDS, k=octets // 8)
    return "\n".join(" ".join(words[start:start + 10]) for start in range(0, len(words), 10)) + "\n"


def _plain_part(text: str) -> bytes:
    return (b"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n"
            + quopri.encodestring(text.encode()))


def _html_part(text: str) -> bytes:
    page = "<html><body><p>" + text.replace("\n", "<br>\n") + "</p></body></html>"
    return (b"Content-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\n"
            + base64.encodebytes(page.encode()))


def _attachment(dice: random.Random, number: int) -> bytes:
    data = dice.randbytes(dice.randrange(10_000, 40_000))
    head = (f'Content-Type: application/pdf; name="Rechnung {number}.pdf"\nContent-Transfer-Encoding: base64\n'
            f'Content-Disposition: attachment; filename="Rechnung {number}.pdf"\n\n')
    return head.encode() + base64.encodebytes(data)


def _multipart(subtype: str, parts: list[bytes], boundary: str) -> bytes:
    line = f"--{boundary}".encode()
    body = b"".join(line + b"\n" + part + b"\n" for part in parts)
    return f'Content-Type: multipart/{subtype}; boundary="{boundary}"\n\n'.encode() + body + line + b"--\n"
