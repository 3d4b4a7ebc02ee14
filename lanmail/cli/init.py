"""`lanmail init`: a new installation."""

import os
import pwd
from pathlib import Path

import click

from lanmail import conffile, config, groups, paths, tls
from lanmail.cli import command
from lanmail.errors import ConfigError
from lanmail.oauth import keys as token_keys
from lanmail.paths import SPOOLS, Paths

_ALIASES = """\
# aliases.toml: more names for accounts, and names that lead elsewhere. A change counts at once.
# A name without a domain counts in every local domain; targets are accounts, aliases, groups or addresses.
#
# "info" = ["meier", "schmidt"]
# "sales@extra.example" = ["somebody@example.org"]
"""


@click.command(short_help="Make a new installation.")
@click.option("--domain", required=True, help="The domain of the office, like office.lan.")
@click.option("--port-offset", default=0, show_default=True, help="Added to every port: with 10000, SMTP is on 10025.")
@click.option("--listen", multiple=True, metavar="ADDRESS", help="Address to listen on, repeatable; else loopback.")
@command.rooted
def init(where: Paths, domain: str, port_offset: int, listen: tuple[str, ...]) -> None:
    """Make the directories, a commented configuration, a certificate authority and a server certificate.

    Nothing that is there already is changed: a second run only adds what is missing.
    """
    text = config.sample(domain, port_offset=port_offset, listen=listen)
    try:
        config.load_settings(conffile.parse(where.config_file, text))
    except ConfigError as error:
        command.fail("\n".join(problem.text for problem in error.problems), os.EX_USAGE)
    report = _Report()
    for directory, mode in _directories(where):
        report.directory(directory, mode)
    report.file(where.config_file, text, "settings")
    report.file(where.aliases, _ALIASES, "aliases")
    report.file(where.groups, groups.TITLE, "groups")
    loaded = config.load(where)
    if loaded.server.domain != domain.lower():
        click.echo(f"note: {where.config_file} has the domain {loaded.server.domain}, which stays")
    _certificates(where, loaded.server.domain, loaded.server.hostname, loaded.server.listen, report)
    report.made += [f"{path}   (key for tokens)" for path in token_keys.ensure(where)]
    _hand_over(where)
    config.load(where)
    report.tell()
    hint = f" --root {where.root}" if command.root() else ""
    if not list(config.account_files(where)):
        click.echo(f"next: {command.typed()} account add NAME{hint}")
    click.echo(f"then: {command.typed()} up{hint}")


class _Report:
    """Makes what is missing and remembers what it found."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.kept: list[str] = []

    def directory(self, path: Path, mode: int) -> None:
        if path.is_dir():
            return
        path.mkdir(mode=mode, parents=True)
        if not any(f"{above}/" in self.made for above in list(path.parents)[:-1]):
            self.made.append(f"{path}/")

    def file(self, path: Path, text: str, what: str) -> None:
        try:
            config.create(path, text)
            self.made.append(f"{path}   ({what})")
        except FileExistsError:
            self.kept.append(f"{path}   ({what})")

    def tell(self) -> None:
        for word, lines in (("made", self.made), ("kept", self.kept)):
            for line in lines:
                click.echo(f"{word}  {line}")


def _directories(where: Paths) -> list[tuple[Path, int]]:
    spools = [where.spool / name for name in SPOOLS]
    return [
        (where.root, 0o750),
        (where.conf, 0o750),
        (where.accounts, 0o750),
        (where.tls, 0o750),
        (where.secrets, 0o700),
        (where.conf / "apps", 0o750),
        (where.maildirs, 0o750),
        (where.spool, 0o750),
        *((spool, 0o750) for spool in spools),
        *((spool / name, 0o750) for spool in spools for name in ("tmp", "new", "cur")),
        (where.state, 0o750),
        (where.log, 0o750),
        (where.run, 0o750),
    ]


def _certificates(where: Paths, domain: str, hostname: str, listen: list[str], report: _Report) -> None:
    ips = [item for item in listen if item not in ("0.0.0.0", "::")]  # noqa: S104 not bound here, left out
    try:
        made = tls.make_ca(where, domain, [hostname], ips)
    except (ValueError, FileNotFoundError) as error:
        command.fail(f"no certificate could be made: {error}", os.EX_CANTCREAT)
    report.made += [f"{path}   ({_kind(path)})" for path in made]
    files = sorted(where.tls.glob("*.pem")) + sorted(where.tls.glob("*.key"))
    report.kept += [f"{path}   ({_kind(path)})" for path in files if path not in made]


def _kind(path: Path) -> str:
    if path.suffix == ".key":
        return "private key"
    return "authority; give it to mail clients" if path.stem == "ca" else "server certificate"


def _hand_over(where: Paths) -> None:
    """Installed by root: the programs run as the user lanmail and must read the server's key and write their data."""
    if os.geteuid() != 0 or where.conf != paths.installed().conf:
        return
    try:
        user = pwd.getpwnam("lanmail")
    except KeyError:
        click.echo("note: there is no user lanmail yet; systemd-sysusers makes it, then run init again", err=True)
        return
    own = (where.tls / "server.key", *(where.secrets / name for name in (token_keys.ACCESS, token_keys.REFRESH)))
    for path in (*own, where.root, where.run, *(p for p, _ in _directories(where))):
        inside = where.conf in path.parents or path == where.conf
        if path.exists() and (not inside or path in own):
            os.chown(path, user.pw_uid, user.pw_gid)
        elif path.exists():
            os.chown(path, 0, user.pw_gid)
            changed = (where.conf, where.accounts, where.secrets, where.conf / "apps")  # by httpd, accounts by deliver
            path.chmod(0o2770 if path in changed else 0o2750)
