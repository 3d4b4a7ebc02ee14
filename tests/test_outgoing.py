"""outgoing.py: what an account takes from the default way out, and what it must not."""

from typing import Any

import pytest

from lanmail import outgoing


def way(**given: Any) -> outgoing.Outgoing:
    return outgoing.Outgoing.model_validate(given)


DEFAULT = way(host="smtp.provider.example", tls="starttls", user="firma", password="file:secrets/provider",
              proxy="socks5://proxy.lan:1080", max_size="10MB", overwrite_sender="%localpart%@firma.example")


def test_an_account_that_says_nothing_uses_the_default() -> None:
    assert outgoing.of(DEFAULT, None) is DEFAULT
    assert outgoing.of(DEFAULT, way()) is DEFAULT
    assert outgoing.of(DEFAULT, way(folder={}, http={}, smime={})) is DEFAULT


def test_own_log_in_at_the_default_server() -> None:
    made = outgoing.of(DEFAULT, way(user="meier", password="file:secrets/meier"))
    assert (made.host, made.tls, made.user, made.password) == (
        "smtp.provider.example", "starttls", "meier", "file:secrets/meier")


def test_the_defaults_password_never_goes_to_another_server() -> None:
    for own in (way(host="smtp.other.example"), way(transport="http", http={"url": "https://x.example"}), way(port=26)):
        made = outgoing.of(DEFAULT, own)
        assert (made.user, made.password, made.tls) == ("", "", "auto")
    assert outgoing.of(DEFAULT, way(user="meier")).password == ""


def test_limits_and_proxy_come_from_the_default() -> None:
    made = outgoing.of(DEFAULT, way(host="smtp.other.example"))
    assert (made.proxy, made.overwrite_sender) == ("socks5://proxy.lan:1080", "%localpart%@firma.example")
    assert outgoing.of(DEFAULT, way(overwrite_sender="")).overwrite_sender == ""


@pytest.mark.parametrize(("own", "counts"), [("5MB", 5 << 20), ("20MB", 10 << 20), ("0", 10 << 20)])
def test_an_accounts_size_is_never_above_the_default(own: str, counts: int) -> None:
    assert outgoing.of(DEFAULT, way(max_size=own)).max_size == counts


def test_own_certificate_without_the_defaults_key() -> None:
    default = way(smime={"sign": True, "certificate": "a.pem", "key": "a.key", "password": "file:a"})
    made = outgoing.of(default, way(smime={"certificate": "b.pem"})).smime
    assert (made.sign, made.certificate, made.key, made.password) == (True, "b.pem", "", "")


@pytest.mark.parametrize(("given", "port"), [
    ({"tls": "implicit"}, 465), ({"tls": "none"}, 25), ({"tls": "none", "user": "x"}, 587), ({}, 587),
    ({"port": 26}, 26),
])
def test_port(given: dict[str, Any], port: int) -> None:
    assert outgoing.port_of(way(**given)) == port


@pytest.mark.parametrize(("given", "words"), [
    ({"host": "smtp provider"}, "is not a host"),
    ({"proxy": "proxy.lan:3128"}, "is not a proxy"),
    ({"proxy": "http://user:word@proxy.lan:3128"}, "is not a proxy"),
    ({"overwrite_sender": "info"}, "is not a sender"),
    ({"overwrite_sender": "info@%localpart%"}, "is not a sender"),
    ({"tls_fingerprint": ["AB:CD"]}, "is not a SHA-256 fingerprint"),
    ({"http": {"url": "https://user:word@x.example/"}}, "is not a URL"),
    ({"transport": "pigeon"}, "Input should be"),
])
def test_wrong_values_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        way(**given)


def test_values_in_their_usual_spellings() -> None:
    made = way(host="SMTP.Provider.example", proxy="socks5://[::1]:1080", overwrite_sender="%localpart%+x@a.example",
               tls_fingerprint=["SHA256:" + "AB:" * 31 + "AB"], http={"url": "http://127.0.0.1:8080/in.php?a=b"})
    assert made.host == "smtp.provider.example"
    assert made.tls_fingerprint == ["ab" * 32]
    assert way(host="[::1]").host == "::1"
