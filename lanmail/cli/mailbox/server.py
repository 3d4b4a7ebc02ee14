"""The server that `lanmail mailbox import` copies from, as it is named on the command line, and the password for it."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

import click

from lanmail import atomic
from lanmail.cli import command
from lanmail.clients import imapclient, smtplogin, tlsclient
from lanmail.secret import Secret

SCHEMES = {"imaps": "implicit", "imap": "starttls"}
Function = TypeVar("Function", bound=Callable[..., Any])


def options(function: Function) -> Function:
    """The options that name a server."""
    for decorator in (
        click.option("--tls-no-verify", is_flag=True, help="Take any certificate; who is in between sees all."),
        click.option("--tls-fingerprint", multiple=True, help="Take only the certificate with this SHA-256."),
        click.option("--tls-ca", type=click.Path(path_type=Path), help="Trust the certificates signed by this one."),
        click.option("--tls", type=click.Choice(list(imapclient.PORTS)), help="How to encrypt [default: by the URL]."),
        click.option("--token-file", type=click.Path(path_type=Path), help="An OAuth 2 token instead of a password."),
        click.option("--password-file", type=click.Path(path_type=Path), help="The file with the password."),
        click.option("--password-stdin", is_flag=True, help="Read that password from standard input."),
        click.option("--user", help="The log-in name at the server."),
        click.option("--port", type=click.IntRange(1, 65535), help="The port of the server."),
        click.option("--host", help="The IMAP server, instead of an imaps:// URL."),
    ):
        function = decorator(function)
    return function


def is_url(source: str) -> bool:
    return source.partition("://")[0].lower() in SCHEMES


def of(url: str | None, given: dict[str, Any]) -> tuple[imapclient.Target, str]:
    """The server, and the folder that the URL names ("" for all); asks for the password when nobody gave it."""
    tls, host, port, user, folder = "implicit", given["host"], given["port"], given["user"], ""
    if url is not None:
        try:
            parts = urlsplit(url)
            port = port or parts.port
        except ValueError:
            command.fail(f"{url} is no URL; write it like imaps://eva@mail.example.org/", os.EX_USAGE)
        if parts.password is not None:
            command.fail("a password does not belong on the command line, where others can see it; it is asked for, "
                         "or comes by --password-file or --password-stdin", os.EX_USAGE)
        tls, host = SCHEMES[parts.scheme.lower()], host or parts.hostname
        user = user or unquote(parts.username or "")
        folder = unquote(parts.path).strip("/")
    if not host or not user:
        command.fail("name the server and the log-in name: imaps://eva@mail.example.org/ (an @ in the name is %40), "
                     "or --host and --user", os.EX_USAGE)
    tls = given["tls"] or tls
    wish = tlsclient.Wish(verify=not given["tls_no_verify"], ca=given["tls_ca"],
                          fingerprints=tuple(tlsclient.normal(one) for one in given["tls_fingerprint"]))
    credentials = smtplogin.Credentials(user, _secret(given, f"password of {user} at {host}"),
                                        is_token=given["token_file"] is not None)
    return imapclient.Target(host, port or imapclient.PORTS[tls], credentials, tls, wish), folder


def _secret(given: dict[str, Any], prompt: str) -> Secret:
    path = given["token_file"] or given["password_file"]
    try:
        if path is not None:
            text = atomic.read(path, 64 << 10).decode().strip("\r\n")
        elif given["password_stdin"]:
            text = sys.stdin.buffer.readline(64 << 10).decode().rstrip("\r\n")
        elif sys.stdin.isatty():
            text = str(click.prompt(prompt, hide_input=True, err=True))
        else:
            command.fail("a password is needed: --password-file or --password-stdin", os.EX_USAGE)
    except UnicodeDecodeError:
        command.fail("the password is not UTF-8", os.EX_DATAERR)
    if not text:
        command.fail("the password is empty", os.EX_DATAERR)
    return Secret(text)
