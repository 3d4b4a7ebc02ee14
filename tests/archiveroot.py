"""An archive for tests, filled by its own store and journal."""

import time
from pathlib import Path

from lanmail import address, envelope, paths, spool
from lanmail.archiving import finding, following, index, journal, query, store

NOW = 1_795_000_000.0  # 2026-11-18


class Archive:
    """`add` mails, `flush` them; `find` says which ids a query finds."""

    def __init__(self, root: Path) -> None:
        self.where = paths.of_root(root)
        self._owner = store.spool_of(self.where)
        self._owner.ensure()
        self._waiting: list[str] = []
        self.count = 0

    def add(self, text: bytes | str, *, sender: str = "a@far.example", to: tuple[str, ...] = ("bob@office.lan",),
            submitter: str = "", receivers: tuple[str, ...] = ("bob",), form: str = store.ACCEPTED, mail_id: str = "",
            arrived: float = NOW) -> str:
        """Hand a message over; its id."""
        self.count += 1
        one = mail_id or f"{int(arrived)}.M{self.count:06}P1Q1.mail"
        origin = store.origin(store.Facts(one, form, submitter, receivers, "mx"))
        head = envelope.Envelope(address.parse(sender) if sender else None,
                                 [envelope.Recipient(address.parse(each)) for each in to], origin=origin)
        data = text.encode() if isinstance(text, str) else text
        self._waiting.append(self._owner.put(head, data, f"{one}{'' if form == store.ACCEPTED else '-s'}"))
        return one

    def flush(self) -> None:
        """What archived does."""
        kept, book = store.Store(self.where), journal.Journal(self.where)
        try:
            book.append([kept.put(self._owner, name).body for name in self._waiting])
            for name in self._waiting:
                (self.where.spool / "archive" / spool.NEW / name).unlink()
            self._waiting.clear()
        finally:
            kept.close()
            book.close()

    def lines(self) -> list[journal.Line]:
        return list(journal.lines(journal.path(self.where)))

    def purge(self, mail_id: str, *, form: str = store.ACCEPTED) -> None:
        """Erase a mail as `lanmail archive` does: its file goes, the journal says so."""
        line = next(one for one in self.lines() if one.data.get("id") == mail_id and one.data["form"] == form)
        book = journal.Journal(self.where)
        book.append([{"kind": journal.PURGED, "of": line.seq, **{key: line.data[key] for key in
                      ("id", "form", "file", "sha256")}, "why": "erased", "reason": "a test", "by": "test"}])
        book.close()
        (self.where.archive / line.data["file"]).unlink()

    def fill(self, **options: object) -> following.Filling:
        if self._waiting:
            self.flush()
        return following.fill(self.where, **options)  # type: ignore[arg-type]

    def reader(self) -> index.Reader:
        return index.Reader(index.path(self.where))

    def search(self, text: str, scope: finding.Scope = finding.EVERYTHING, *, inside: bool = False,
               **options: object) -> list[finding.Found]:
        asked = query.parse(text, NOW)
        with self.reader() as reader:
            if inside:
                return list(finding.scan(reader, asked, scope))
            return finding.search(reader, asked, scope, **options)  # type: ignore[arg-type]

    def find(self, text: str, scope: finding.Scope = finding.EVERYTHING, **options: object) -> list[str]:
        """The subjects of what is found, the newest first."""
        return [one.subject for one in self.search(text, scope, **options)]  # type: ignore[arg-type]


def mail(subject: str, body: str = "", *, author: str = "Eva Müller <eva@far.example>", to: str = "bob@office.lan",
         date: float = NOW, more: str = "") -> str:
    """A message in UTF-8."""
    when = time.strftime("%a, %d %b %Y %H:%M:%S +0000", time.gmtime(date))
    kind = "" if "Content-Type" in more else "Content-Type: text/plain; charset=utf-8\n"
    return f"From: {author}\nTo: {to}\nSubject: {subject}\nDate: {when}\n{more}{kind}\n{body}\n"


