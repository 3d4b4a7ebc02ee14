"""sendmail: hands mail in from scripts, as sendmail does.

Reads a message from standard input and drops it into spool/pickup, where lanmail-deliver takes it. It may be linked
as /usr/sbin/sendmail: cron, PHP, mutt and scripts need not know the difference. A name without a domain gets the
domain of the server.

Options that others use and that mean nothing here (-oem, -odb, -bm, -v, -m, -n, -B, -h, -O and so on) are read and
ignored. -bi (newaliases) and -q (run the queue) have nothing to do, -bp says how to see the queue.

Reads: standard input.

Writes: spool/pickup.

Exit status: 0 when the message lies durably in the spool. 64 usage; 65 the message or an address is malformed, or
nobody is addressed; 73 the spool cannot be written; 74 reading failed; 75 the disk is full.

Security: needs no rights but to create files in spool/pickup. It believes what it is told of the sender, as any
sendmail does; whoever may write there may send under any address. The user's number is noted in X-Origin.

Bugs: -bs and -bd (SMTP) and -bt are not there: connect to port 25.

See also: lanmail-deliver.
"""

import errno
import os
import pwd
import re
import sys
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

import click

import lanmail
from lanmail import atomic, envelope, manpage, paths, pickup, spool

_PLACEHOLDER = "localhost"  # never written: names without a domain are completed by deliver


@dataclass
class Request:
    """What the command line asks for."""

    recipients: tuple[str, ...] = ()
    sender: str | None = None
    full_name: str = ""
    from_header: bool = False
    dot_ends: bool = True
    notify: str = ""
    ret: str = ""
    envid: str = ""

    def envelope_lines(self, header: bytes) -> bytes:
        """X-Sender and X-Receiver lines for deliver; a bare name stays bare. Raises ValueError."""
        receivers = [_checked(one) for text in self.recipients for one in text.split(",") if one.strip()]
        if self.from_header:
            # read with a domain nobody has, so that bare names can be told from full ones and be completed later
            found = pickup.recipients(pickup.read(header, _PLACEHOLDER), _PLACEHOLDER)
            receivers += [str(one).removesuffix(f"@{_PLACEHOLDER}") for one in found]
        if not receivers:
            raise ValueError("no recipients: name some, or use -t and a To, Cc or Bcc line")
        notify = f" NOTIFY={_value(self.notify)}" if self.notify else ""
        params = (f" RET={_value(self.ret)}" if self.ret else "") + (
            f" ENVID={_value(self.envid)}" if self.envid else "")
        lines = [f"X-Sender: <{self._sender()}>{params}"]
        lines += [f"X-Receiver: <{one}>{notify}" for one in dict.fromkeys(receivers)]
        return "".join(f"{line}\n" for line in lines).encode()

    def _sender(self) -> str:
        if self.sender is None:
            return login_name()
        bare = self.sender.strip().removeprefix("<").removesuffix(">")
        return _checked(bare) if bare else ""


def login_name() -> str:
    """The name of the user who runs us."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return "nobody"


def _checked(text: str) -> str:
    """An address or bare name that can stand in an envelope line. Raises ValueError."""
    bare = text.strip().removeprefix("<").removesuffix(">")
    try:
        found = pickup.qualify(bare, _PLACEHOLDER)
    except ValueError as error:
        raise ValueError(f"{text.strip()[:200]!r}: {error}") from error
    return str(found) if "@" in bare else str(found).removesuffix(f"@{_PLACEHOLDER}")


def _value(text: str) -> str:
    """A parameter's value that can stand in an envelope line. Raises ValueError."""
    if " " in text:
        raise ValueError(f"{text!r} must not hold a blank")
    envelope.read_params(f"X={text}")
    return text


def read_message(source: BinaryIO, *, dot_ends: bool) -> bytes:
    """Everything up to the end, or up to a line with a single dot."""
    if not dot_ends:
        return source.read()
    lines = []
    for line in source:
        if line in (b".\n", b".\r\n"):
            break
        lines.append(line)
    return b"".join(lines)


def drop(directory: str, data: bytes) -> str:
    """Put a file into pickup, durably; its name. Only the right to create files there is needed. OSError."""
    entry_id = spool.new_id()
    temporary, final = f"{directory}/.{entry_id}.tmp", f"{directory}/{entry_id}.eml"
    # deliver may be another user than we; in a directory without names for everybody (1733) nobody else finds it
    mode = 0o640 if os.stat(directory).st_uid == os.geteuid() else 0o644
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | atomic.SAFE, mode)
    try:
        os.fchmod(descriptor, mode)
        atomic.write_all(descriptor, data)
        os.fsync(descriptor)
        os.rename(temporary, final)
        os.fsync(descriptor)  # on the file systems that matter this commits the new name as well
    except BaseException:
        for name in (temporary, final):
            try:
                os.unlink(name)
            except OSError:
                continue
        raise
    finally:
        os.close(descriptor)
    return entry_id


def submit(request: Request, directory: str, source: BinaryIO) -> int:
    """Read, check, drop; the exit code."""
    try:
        message = read_message(source, dot_ends=request.dot_ends)
    except OSError as error:
        return _say(f"cannot read the message: {error.strerror}", os.EX_IOERR)
    try:
        head = request.envelope_lines(message[: pickup.MAX_HEADER])
        author = _author(request, message)
    except ValueError as error:
        return _say(str(error), os.EX_DATAERR)
    # Return-Path ends the envelope: a message that starts with an X-Receiver line adds no recipient to it
    data = head + b"Return-Path: <>\n" + author + re.sub(rb"\A>?From [^\n]*\n", b"", message)
    try:
        drop(directory, data)
    except FileNotFoundError:
        return _say(f"{directory} is not there; say where it is with --root or LANMAIL_ROOT", os.EX_CANTCREAT)
    except OSError as error:
        code = os.EX_TEMPFAIL if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else os.EX_CANTCREAT
        return _say(f"{directory}: {error.strerror}", code)
    return os.EX_OK


def _author(request: Request, message: bytes) -> bytes:
    """A From line with the full name, for a message that has none."""
    if not request.full_name or any(name == b"from" for name, _ in pickup.read(
            message[: pickup.MAX_HEADER], _PLACEHOLDER).fields):
        return b""
    name = "".join(c for c in request.full_name if c.isprintable()).replace("\\", "").replace('"', "")
    return f'From: "{name}" <{request._sender() or login_name()}>\n'.encode()


def _say(text: str, code: int) -> int:
    print(f"lanmail-sendmail: {text}", file=sys.stderr)
    return code


_IGNORED = {
    "-v -m -n -U -G": True,  # flags
    "-B -h -O -X -C -L -A -p -M -D": False,  # with an argument
}


def _options() -> list[click.Parameter]:
    options: list[click.Parameter] = [
        click.Option(["-t", "from_header"], is_flag=True,
                     help="Take the recipients from To, Cc and Bcc, too, not only from the command line."),
        click.Option(["-i", "ignore_dots"], is_flag=True,
                     help="A line with a single dot does not end the message; -oi is the same."),
        click.Option(["-f", "-r", "sender"], metavar="SENDER",
                     help="The envelope sender, else the user; <> or an empty one is the null sender."),
        click.Option(["-F", "full_name"], metavar="NAME", default="",
                     help="Full name for the From line, if the message has no such line."),
        click.Option(["-N", "notify"], metavar="WORDS", default="",
                     help="What to be told of: never, or some of success,failure,delay (RFC 3461 NOTIFY)."),
        click.Option(["-R", "ret"], metavar="full|hdrs", default="", help="What a bounce returns (RFC 3461 RET)."),
        click.Option(["-V", "envid"], metavar="ID", default="", help="An id for bounces (RFC 3461 ENVID)."),
        click.Option(["-b", "mode"], default="m", hidden=True),
        click.Option(["-o", "others"], multiple=True, hidden=True),
        click.Option(["-q", "queue_run"], is_flag=False, flag_value="", hidden=True),
        click.Option(["-d", "debug"], is_flag=False, flag_value="", hidden=True, expose_value=False),
        click.Option(["--root", "root"], metavar="DIR",
                     help="Where spool/ lies; else LANMAIL_ROOT, else /var/lib/lanmail."),
        click.Argument(["recipients"], nargs=-1, metavar="[RECIPIENT]..."),
    ]
    for names, flag in _IGNORED.items():
        options += [click.Option([name, f"ignored_{ord(name[1])}"], is_flag=flag, hidden=True, expose_value=False)
                    for name in names.split()]
    return options


def run(recipients: tuple[str, ...], from_header: bool, ignore_dots: bool, sender: str | None, full_name: str,
        notify: str, ret: str, envid: str, mode: str, others: tuple[str, ...], queue_run: str | None,
        root: str | None) -> NoReturn:
    """One call of sendmail; ends with the exit code."""
    if mode == "p":
        print("To see the queue: lanmail queue list")
        sys.exit(os.EX_OK)
    if mode == "i":  # newaliases: conf/aliases.toml needs no rebuilding
        sys.exit(os.EX_OK)
    if mode != "m":
        sys.exit(_say(f"-b{mode} is not supported; speak SMTP to port 25 instead", os.EX_USAGE))
    if queue_run is not None and not recipients and not from_header:
        sys.exit(os.EX_OK)  # deliver and relay never stop running the queue
    request = Request(recipients, sender, full_name, from_header, not (ignore_dots or "i" in others),
                      notify.upper(), ret.upper(), envid)
    sys.exit(submit(request, str(paths.find(root).pickup), sys.stdin.buffer))


main = click.version_option(lanmail.__version__, prog_name="lanmail-sendmail")(
    manpage.Command("lanmail-sendmail", callback=run, params=_options(), help=__doc__,
                    context_settings={"max_content_width": 110}))
