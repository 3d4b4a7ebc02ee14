"""Which programs there are: the one list that `lanmail up`, the man pages and the tests of bin/ and systemd/ read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """A program: `name` is its module, and `lanmail-NAME` its command."""

    name: str
    does: str
    listens: bool = False    # stopped first, so that nothing new comes in while the others finish


DAEMONS = (
    Program("deliver", "resolves recipients, files mail into Maildirs"),
    Program("relay", "sends mail to the outside"),
    Program("archived", "puts mail into the archive"),
    Program("tokend", "keeps OAuth2 tokens of external mailboxes fresh"),
    Program("fetchmail", "fetches mail from mailboxes elsewhere"),
    Program("smtpd", "receives mail: SMTP, submission, LMTP", listens=True),
    Program("pop3d", "lets clients fetch mail by POP3", listens=True),
    Program("imapd", "lets clients read mail by IMAP", listens=True),
    Program("httpd", "serves log-in pages, OAuth2 and the HTTP API", listens=True),
)
TOOLS = (
    Program("sendmail", "hands mail in from scripts, as sendmail does"),
    Program("einvoice", "says whether a mail, an XML or a PDF is an e-invoice"),
)
ALL = DAEMONS + TOOLS
