"""incoming.py: what a source takes from [incoming], and what it must not."""

from pathlib import Path
from typing import Any

import pytest

from lanmail import conffile, config, incoming
from lanmail.errors import ConfigError
from lanmail.incoming import Incoming, Source

DEFAULT = Incoming(interface="standard", host="mail.provider.example", port=1993, tls="implicit", user="firma",
                   password="file:secrets/provider", proxy="socks5://proxy.lan:1080", delete_after="14d", every="10m")


def of(default: Incoming = DEFAULT, **own: Any) -> Source:
    return incoming.of(default, Source.model_validate(own))


def test_nothing_is_fetched_where_no_interface_is_set() -> None:
    made = of(Incoming(), host="mail.example", user="a", password="file:a")
    assert made.interface == "disabled"
    assert "disabled" in incoming.problem(made)
    assert not incoming.problem(of(Incoming(), interface="standard", host="mail.example", user="a", password="file:a"))


def test_the_default_counts_for_all_who_use_it() -> None:
    made = of(user="meier", password="file:secrets/meier")
    assert (made.host, made.port, made.tls, made.user) == ("mail.provider.example", 1993, "implicit", "meier")
    changed = DEFAULT.model_copy(update={"host": "new.provider.example", "every": 60.0})
    assert of(changed, user="meier").host == "new.provider.example"
    assert of(changed, user="meier").every == 60.0


def test_the_defaults_log_in_never_goes_to_another_server() -> None:
    made = of(host="other.example")
    assert (made.port, made.tls, made.user, made.password) == (0, "auto", "", "")
    assert (made.proxy, made.delete_after, made.interface) == ("socks5://proxy.lan:1080", 14 * 86400, "standard")


def test_another_protocol_at_the_default_server_has_its_own_port() -> None:
    assert incoming.port_of(of(protocol="pop3", user="a")) == 995
    assert of(protocol="pop3", user="a", port=1995).port == 1995


def test_always_delete_beats_the_account() -> None:
    default = DEFAULT.model_copy(update={"delete_always": True})
    assert of(default, delete=False).delete is True
    assert of(delete=False).delete is False


def test_office365_is_oauth2_with_tls_at_microsofts_server() -> None:
    made = of(interface="office365", user="max@firma.example", app="microsoft", tls="none")
    assert (made.host, made.tls, made.auth, made.mechanism, made.password) == (
        "outlook.office365.com", "implicit", "oauth2", "XOAUTH2", "")
    assert not incoming.problem(made)
    assert "app" in incoming.problem(of(interface="office365", user="max@firma.example"))


@pytest.mark.parametrize(("own", "tls", "port"), [
    ({}, "implicit", 993), ({"protocol": "pop3"}, "implicit", 995), ({"tls": "starttls"}, "starttls", 143),
    ({"tls": "none", "protocol": "pop3"}, "none", 110), ({"port": 993}, "implicit", 993), ({"port": 143}, "auto", 143),
    ({"port": 1995, "tls": "implicit"}, "implicit", 1995),
])
def test_tls_and_port(own: dict[str, Any], tls: str, port: int) -> None:
    made = of(Incoming(), host="mail.example", **own)
    assert (incoming.tls_of(made), incoming.port_of(made)) == (tls, port)


def test_sources_of_an_account() -> None:
    text = '[sources.gmx]\nhost = "pop.gmx.net"\nprotocol = "pop3"\nwindow = ["Mon-Fri 07:00-19:00"]\n'
    account = config.account(conffile.parse(Path("meier.toml"), text))
    assert account.sources["gmx"].window == ["Mon-Fri 07:00-19:00"]


@pytest.mark.parametrize(("line", "says"), [
    ('[sources."a/b"]\n', "no name for a source"), ('[sources.gmx]\nevry = "5m"\n', "did you mean 'every'"),
    ('[sources.gmx]\npassword = "geheim"\n', "secret"), ('[sources.gmx]\nwindow = ["immer"]\n', "Mon-Fri"),
    ('[sources.gmx]\nevery = "1s"\n', "10.0 or more"),
])
def test_what_is_wrong_is_said(line: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.account(conffile.parse(Path("meier.toml"), line))
    assert says in str(caught.value)
    assert "geheim" not in str(caught.value)
