"""Refusals on German pages are German: every rule that a value can break has its sentence, every code has one, and
what the API says in English stands on no page of the common mistakes."""

import ast
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from lanmail import conffile, schema
from lanmail.errors import ConfigError, Problem
from lanmail.groups import Group
from lanmail.incoming import Source
from lanmail.oauth.apps import App
from lanmail.settings import Account, Settings
from lanmail.web.api import frame
from lanmail.web.api.frame import STATUS, Refused
from lanmail.web.words import findings, refusals
from tests import browsing, webserver
from tests.browsing import Browser

BROKEN: tuple[Any, ...] = ("\0 ü<>", -1, 10**12, 1.5, "", {}, [], ["\0 ü<>"], [5], {"\0 ü": "\0 <>"}, None, True,
                           "x" * 9999)
MODELS: tuple[type[BaseModel], ...] = (Account, Group, Source, App, Settings)
ENGLISH = re.compile(r"\b(must|the|is not|there is|cannot|write it|should|input|only|unknown|set by)\b", re.I)


def _broken(model: type[BaseModel]) -> list[tuple[str, Any]]:
    """All that can be wrong with one key: (the key, the error)."""
    found = []
    for key, _ in schema.fields(model):
        for value in BROKEN:
            data: Any = value
            for part in reversed(key):
                data = {part: data}
            try:
                model.model_validate({"name": "x", **data})
            except ValidationError as error:
                found += [(".".join(key), one) for one in error.errors()
                          if tuple(part for part in one["loc"] if part != "[key]")[:len(key)] == key]
    return found


@pytest.mark.parametrize("model", MODELS, ids=lambda one: one.__name__)
def test_every_rule_of_every_key_has_its_sentence(model: type[BaseModel]) -> None:
    found = _broken(model)
    assert len({key for key, _ in found}) > 5
    for key, error in found:
        said = findings.german(schema.broken(model, error))
        assert said != findings.ANYTHING, (key, schema.rule(model, error))
        assert not ENGLISH.search(said.partition("“: ")[2] or said), (key, said)


def test_every_code_has_its_sentence() -> None:
    for code in STATUS:
        for method in frame.METHODS:
            said = refusals.german(method, Refused(code, "this is the English text of it", "nothing"))
            assert said
            assert "English" not in said


def test_the_kinds_in_the_code_are_known() -> None:
    """A problem of conf/ that was given a kind without a German sentence would only say that it is wrong."""
    folder = Path(findings.__file__).parents[2]
    kinds = set()
    for name in ("config.py", "groups.py", "conffile.py", "administration/grouping.py", "oauth/apps.py"):
        for node in ast.walk(ast.parse((folder / name).read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
                    "problem", "Problem", "PydanticCustomError", "Unknown"):
                kinds |= {one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)
                          and re.fullmatch(r"[a-z]+(-[a-z_]+)+", one.value)}
    assert len(kinds) > 20
    assert [kind for kind in sorted(kinds) if findings.of(kind, ("a", "b")) == findings.ANYTHING] == []


@pytest.mark.parametrize(("keys", "german"), [
    (("smtpd.mx_port", "imapd.port"), "benutzt schon imapd.port"),
    (("smtpd.mx_port", "server.port_offset"), "größer als 65535"),
    (("smtpd.lan.port",), "Netze"), (("sms.gateway",), "fehlt noch"),
])
def test_keys_that_do_not_go_together(keys: tuple[str, ...], german: str) -> None:
    assert german in findings.of("keys-together", keys)


def test_what_was_typed_is_said_but_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "meier.toml"
    document = conffile.parse(path, 'quota = "viel"\n[outgoing]\npassword = "geheim"\n')
    with pytest.raises(ConfigError) as caught:
        schema.validate(Account, document, {**document.data, "name": "meier"})
    quota, password = caught.value.problems
    assert findings.placed(quota) == "quota: „viel“: Schreiben Sie eine Größe wie 512KB, 50MB oder 2GB."
    assert "geheim" not in findings.placed(password) + str(password)


def test_a_kind_nobody_thought_of_is_still_german() -> None:
    assert findings.german(Problem("x", 1, "something new")) == findings.ANYTHING


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[webserver.Web]:
    where = browsing.lay_out(tmp_path)
    (where.conf / "groups.toml").write_text('[verkauf]\nmembers = ["meier"]\n')
    async with webserver.serving(where) as made:
        yield made


_ACCOUNT = "/admin/accounts/meier"
MISTAKES: tuple[tuple[str, str, dict[str, str]], ...] = (
    (_ACCOUNT, _ACCOUNT, {"quota": "viel"}),
    (_ACCOUNT, _ACCOUNT, {"forward.to": "niemand"}),
    (_ACCOUNT, _ACCOUNT, {"sms.to": "x"}),
    (f"{_ACCOUNT}/rename", f"{_ACCOUNT}/rename", {"new_name": "ä b"}),
    (f"{_ACCOUNT}/rename", f"{_ACCOUNT}/rename", {"new_name": "chef"}),
    (f"{_ACCOUNT}/outgoing", f"{_ACCOUNT}/outgoing", {"port": "70000"}),
    (f"{_ACCOUNT}/outgoing", f"{_ACCOUNT}/outgoing/test", {"to": "meier@office.lan"}),
    ("/admin/accounts/-/add", "/admin/accounts/-/add", {"name": "meier"}),
    ("/admin/accounts/-/add", "/admin/accounts/-/add", {"name": "ä"}),
    (_ACCOUNT, "/admin/accounts/-/aliases", {"address": "chef"}),
    (_ACCOUNT, "/admin/accounts/-/aliases", {"address": "postmaster"}),
    ("/admin/new-group", "/admin/new-group", {"name": "meier", "members": "chef"}),
    ("/admin/groups/verkauf", "/admin/groups/verkauf", {"members": "niemand"}),
    ("/admin/apps/-add", "/admin/apps/-add", {"name": "Ä"}),
    ("/admin/apps/-add", "/admin/apps/-add", {"name": "eine"}),
    ("/admin/settings/smtpd", "/admin/settings/smtpd", {"smtpd.max_size": "viel"}),
    ("/admin/settings/smtpd", "/admin/settings/smtpd", {"smtpd.mx_port": "465"}),
    ("/my/sources/-add", "/my/sources/-add", {"address": "x"}),
    ("/my/forwarding", "/my/forwarding", {"forward.to": "niemand"}),
    ("/my/password", "/my/password", {"old": "x", "password": "kurz", "again": "kurz"}),
)


async def test_common_mistakes_on_pages(web: webserver.Web) -> None:
    browser = Browser(web, "de")
    await browser.login("chef")
    for way, action, fills in MISTAKES:
        page = await browser.go(way)
        assert page.status == 200, way
        assert action in [one.get("action") for one in page.tree.iter("form")], (way, action)
        seen = await browser.send(page, action, fills=fills)
        assert seen.problems, (action, fills, seen.words[:500])
        for said in seen.problems:
            assert not ENGLISH.search(said.partition("“: ")[2] or said), (action, fills, said)


async def test_a_refusal_without_a_form(web: webserver.Web) -> None:
    browser = Browser(web, "de")
    await browser.login("chef")
    for way in ("/admin/accounts/niemand", "/admin/groups/keine", "/admin/apps/keine", "/my/sources/keine",
                "/admin/queue/1.x"):
        page = await browser.go(way)
        assert page.status == 404
        assert not ENGLISH.search(page.words), (way, page.words)
