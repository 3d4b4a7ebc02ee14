"""settings.py, units.py and what schema.py derives from them."""

import ipaddress
import re
import tomllib
from pathlib import Path
from typing import Any

import pydantic
import pytest

from lanmail import conffile, config, schema, settings, units


def make(**sections: Any) -> settings.Settings:
    return settings.Settings.model_validate({"server": {"domain": "office.lan"}, **sections})


def test_defaults_are_plain_values() -> None:
    made = make()
    assert made.smtpd.max_size == 50 << 20
    assert made.deliver.pickup_wait == 3.0
    assert made.server.hostname == "mail.office.lan"
    assert ipaddress.ip_address("127.0.0.7") in made.auth.cleartext_networks[0]
    assert made.server.umask == 0o027


def test_every_key_has_one_sentence() -> None:
    for model in (settings.Settings, settings.Account):
        for key, field in schema.fields(model):
            sentence = field.description or ""
            assert re.fullmatch(r"[^a-z].*\.", sentence), f"{key}: {sentence!r}"
            assert len(sentence) < schema.WIDTH, key


def test_sections_say_what_they_are_for() -> None:
    for name, field in settings.Settings.model_fields.items():
        assert isinstance(field.annotation, type)
        assert field.annotation.__doc__ != settings.Model.__doc__, name


def test_sample_has_every_key_with_its_default_commented_out() -> None:
    text = config.sample("firma.example")
    given = tomllib.loads(text)
    assert _without_empty(given) == {"server": {"domain": "firma.example"}}
    without = re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)
    document = conffile.parse(Path("sample"), without)
    assert config.load_settings(document) == make(server={"domain": "firma.example", "hostname": ""})
    for key, _ in schema.fields(settings.Settings):
        assert conffile.line_of(without, key), key


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    inner = {name: _without_empty(value) if isinstance(value, dict) else value for name, value in table.items()}
    return {name: value for name, value in inner.items() if value != {}}


def test_sample_sets_what_it_is_given() -> None:
    text = config.sample("a.example", port_offset=10000, listen=["0.0.0.0"])
    assert tomllib.loads(text)["server"] == {"domain": "a.example", "port_offset": 10000, "listen": ["0.0.0.0"]}


def test_values_go_out_as_they_came_in() -> None:
    made = make(
        smtpd={"max_size": "1536KB", "lan": {"networks": ["10.0.0.0/8", "::1"]}}, deliver={"pickup_wait": "90s"}
    )
    tree = made.model_dump(mode="json")
    assert tree["smtpd"]["max_size"] == "1536KB"
    assert tree["deliver"]["pickup_wait"] == "90s"
    assert settings.Settings.model_validate(tree) == made


def test_settings_do_not_change() -> None:
    with pytest.raises(pydantic.ValidationError):
        make().smtpd.max_size = 5


def test_ports_follow_the_offset_and_zero_stays_off() -> None:
    made = make(server={"domain": "a.example", "port_offset": 10000}, smtpd={"lmtp_port": 0}, httpd={"enabled": True})
    ports = dict(made.ports())
    assert ports["smtpd.mx_port"] == 10025
    assert ports["httpd.port"] == 16080
    assert "smtpd.lmtp_port" not in ports
    assert made.server.port(0) == 0
    assert "httpd.port" not in dict(make().ports())


def test_local_domains_in_both_spellings() -> None:
    made = make(server={"domain": "Bücher.example", "extra_domains": ["xn--mller-kva.example"]})
    assert made.server.local_domains == {
        "bücher.example",
        "xn--bcher-kva.example",
        "müller.example",
        "xn--mller-kva.example",
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (4096, 4096),
        ("4KB", 4096),
        ("4 kb", 4096),
        ("50MB", 50 << 20),
        ("1.5GB", 3 << 29),
        ("2GiB", 2 << 30),
        ("7", 7),
        ("0B", 0),
    ],
)
def test_sizes(text: Any, value: int) -> None:
    assert units.size(text) == value
    assert units.size(units.format_size(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (30, 30),
        (0.5, 0.5),
        ("30s", 30),
        ("5m", 300),
        ("12h", 43200),
        ("3d", 259200),
        ("1w", 604800),
        ("500ms", 0.5),
        ("0s", 0),
    ],
)
def test_durations(text: Any, value: float) -> None:
    assert units.duration(text) == value
    assert units.duration(units.format_duration(value)) == value


@pytest.mark.parametrize(
    "wrong", ["", "MB", "-5MB", "5XB", "five", -1, True, None, [], "1e9", "9" * 40, "5 M B", "٣MB"]
)
def test_what_is_no_size(wrong: Any) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        units.size(wrong)


@pytest.mark.parametrize(
    "wrong", ["", "s", "5", "-5s", "5y", -1, True, None, float("inf"), float("nan"), "9" * 40 + "s"]
)
def test_what_is_no_duration(wrong: Any) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        units.duration(wrong)


def test_json_schema_knows_keys_sentences_and_choices() -> None:
    made = config.json_schema()
    smtpd = made["$defs"]["Smtpd"]
    assert smtpd["additionalProperties"] is False
    assert smtpd["properties"]["max_size"]["default"] == "50MB"
    assert smtpd["properties"]["bare_lf"]["enum"] == ["normalize", "reject"]
    assert "(announced as SIZE)" in smtpd["properties"]["max_size"]["description"]
    assert "name" not in config.account_json_schema()["properties"]


def account(**sections: Any) -> settings.Account:
    return settings.Account.model_validate({"name": "meier", **sections})


def test_a_key_that_python_keeps_for_itself_is_written_as_it_reads() -> None:
    made = account(autoresponder={"enabled": True, "from": "2026-12-24", "until": "2027-01-06 12:00"})
    assert made.autoresponder.from_ == "2026-12-24"
    assert made.model_dump(mode="json")["autoresponder"]["from"] == "2026-12-24"
    assert ("autoresponder", "from") in dict(schema.fields(settings.Account))
    with pytest.raises(pydantic.ValidationError):
        account(autoresponder={"from_": "2026-12-24"})
    with pytest.raises(pydantic.ValidationError, match="lies before from"):
        account(autoresponder={"from": "2026-12-24", "until": "2026-12-23"})


def test_targets_of_forwards_may_stand_in_one_text() -> None:
    for written in ("eva@Example.org; meier;;eva@Example.org", ["eva@Example.org;meier"], ["eva@Example.org", "meier"]):
        assert account(autoresponder={"forward": written}).autoresponder.forward == ["eva@example.org", "meier"]
    for wrong in (["a b"], "a b", [5], 5, ["eva@"]):
        with pytest.raises(pydantic.ValidationError, match=r"write (a name|it) like"):
            account(autoresponder={"forward": wrong})
