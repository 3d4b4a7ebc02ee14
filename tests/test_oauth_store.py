"""What is kept of grants: encrypted, in files that cannot be swapped, changed under a lock and by generation."""

import asyncio
import json
import stat
import time
from pathlib import Path

import pytest

from lanmail import config, paths, tokens
from lanmail.errors import ConfigError, Temporary
from lanmail.oauth import apps, keys, store
from lanmail.secret import Secret

ADDRESS = "Meier@Firma.example"


@pytest.fixture
def where(tmp_path: Path) -> paths.Paths:
    made = paths.of_root(tmp_path)
    store.Store(made).prepare()
    return made


def record(word: str = "refresh-1", **more) -> store.Record:
    return store.Record("azure", ADDRESS.lower(), refresh=Secret(word), generation=1, **more)


def access(word: str = "access-1", **more) -> store.Access:
    return store.Access("azure", ADDRESS, expires=time.time() + 3600, secret=Secret(word), **more)


def test_a_record_comes_back_as_it_was(where):
    kept = store.Store(where)
    kept.save(record(account="meier", told={"needs_consent": 5.0}, error={"class": "transient"}))
    found = kept.read("azure", ADDRESS)
    assert found == record(account="meier", told={"needs_consent": 5.0}, error={"class": "transient"})
    assert list(kept.all()) == [("azure", ADDRESS.lower())]
    assert list(kept.all("google")) == []
    assert kept.read("azure", "other@firma.example") is None


def test_no_token_lies_open(where):
    kept = store.Store(where)
    kept.save(record("geheim-r"))
    kept.publish(access("geheim-a"))
    files = [one for one in where.state.rglob("*") if one.is_file()]
    assert len(files) == 2
    assert all(b"geheim" not in one.read_bytes() for one in files)
    assert {stat.S_IMODE(one.stat().st_mode) for one in (where.state / "oauth/refresh").rglob("*.json")} == {0o600}
    assert stat.S_IMODE(tokens.file_of(where, "azure", ADDRESS).stat().st_mode) == 0o640
    assert {stat.S_IMODE(one.stat().st_mode) for one in where.secrets.iterdir()} == {0o400}
    assert "geheim" not in repr(kept.read("azure", ADDRESS)) + repr(kept.access("azure", ADDRESS))


async def test_readers_get_what_was_published(where):
    kept = store.Store(where)
    kept.publish(access("access-1"))
    kept.publish(access("graph-1", resource="graph"))
    assert (await tokens.access(where, "azure", ADDRESS)).secret.reveal() == "access-1"
    assert (await tokens.access(where, "azure", ADDRESS, "graph")).secret.reveal() == "graph-1"
    assert kept.resources("azure", ADDRESS) == ["graph", "mail"]
    assert kept.access("azure", ADDRESS, "graph").fingerprint == store.fingerprint(Secret("graph-1"))


async def test_swapped_files_give_nothing(where):
    kept = store.Store(where)
    kept.publish(access())
    kept.publish(store.Access("azure", "chef@firma.example", expires=time.time() + 3600, secret=Secret("chef-1")))
    kept.save(record())
    kept.save(store.Record("azure", "chef@firma.example", refresh=Secret("chef-r")))
    mine, theirs = (tokens.file_of(where, "azure", one) for one in (ADDRESS, "chef@firma.example"))
    mine.write_bytes(theirs.read_bytes())
    with pytest.raises(Temporary, match="another account"):
        await tokens.access(where, "azure", ADDRESS)
    mine = kept.records / "azure" / "meier@firma.example.json"
    mine.write_text((kept.records / "azure" / "chef@firma.example.json").read_text().replace("chef@", "meier@"))
    with pytest.raises(keys.Unusable, match="another account"):
        kept.read("azure", ADDRESS)


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"v": 1}', b'{"app": "azure", "address": "x@y", "told": 1}'])
def test_a_damaged_record_is_temporary(where, damage):
    kept = store.Store(where)
    kept.save(record())
    (kept.records / "azure" / "meier@firma.example.json").write_bytes(damage)
    with pytest.raises(Temporary):
        kept.read("azure", ADDRESS)


def test_what_was_replaced_meanwhile_stays(where):
    kept = store.Store(where)
    old = record("refresh-1")
    kept.save(old)
    new = record("refresh-2")
    new.generation = 2
    kept.save(new)
    with pytest.raises(store.Changed):
        kept.save(old, generation=1)
    assert kept.read("azure", ADDRESS).refresh.reveal() == "refresh-2"
    kept.publish(access())
    assert kept.remove("azure", ADDRESS)
    with pytest.raises(store.Changed):
        kept.save(new, generation=2)
    assert not kept.remove("azure", ADDRESS)
    assert kept.access("azure", ADDRESS) is None


async def test_one_holds_the_lock(where):
    kept, order = store.Store(where), []

    async def work(name: str) -> None:
        async with kept.lock("azure", ADDRESS):
            order.append(name)
            await asyncio.sleep(0.1)
            order.append(name)

    await asyncio.gather(work("a"), work("b"))
    assert order in (["a", "a", "b", "b"], ["b", "b", "a", "a"])
    async with kept.lock("azure", ADDRESS):
        with pytest.raises(store.Busy):
            async with kept.lock("azure", ADDRESS, wait=0.1):
                pass


def test_a_new_key_on_top_and_the_old_one_still_reads(where):
    kept = store.Store(where)
    kept.save(record())
    path = where.secrets / keys.REFRESH
    old = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(new_key() + old)
    assert kept.read("azure", ADDRESS).refresh.reveal() == "refresh-1"
    kept.save(record())
    ring = keys.load(where, keys.REFRESH)
    assert json.loads((kept.records / "azure" / "meier@firma.example.json").read_text())["key"] == ring.id
    path.write_bytes(old)
    with pytest.raises(keys.Unusable, match="cannot be decrypted"):
        kept.read("azure", ADDRESS)


def new_key() -> bytes:
    from cryptography.fernet import Fernet
    return Fernet.generate_key() + b"\n"


def test_keys_are_made_once(where):
    before = (where.secrets / keys.ACCESS).read_bytes()
    assert keys.ensure(where) == []
    assert (where.secrets / keys.ACCESS).read_bytes() == before
    assert not list(config._insecure(where, None))


def test_odd_names_stay_inside(where):
    kept = store.Store(where)
    for odd in ("../../x@y.example", ".x@y.example", "a/b@c.example", "a,b@c.example", "ü@c.example", "a\nb@c.example"):
        kept.save(store.Record("azure", odd, refresh=Secret("r")))
        kept.publish(store.Access("azure", odd, secret=Secret("a")))
        assert kept.read("azure", odd).refresh.reveal() == "r"
        assert kept.resources("azure", odd) == ["mail"]
    assert len(list(kept.all())) == 6
    assert {one.parent for one in where.state.rglob("*.json")} == {kept.records / "azure", where.state / "tokens/azure"}


# apps

def app(where: paths.Paths, text: str, name: str = "azure") -> apps.App:
    path = apps.file_of(where, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
    return apps.load(where, name)


@pytest.mark.parametrize("name", apps.presets())
def test_every_preset_makes_an_app(where, name):
    made = app(where, f'preset = "{name}"\nclient_id = "4711"')
    assert made.name == "azure"
    assert made.title
    assert made.token_url.startswith("https://")
    assert "{" not in made.token_url + made.authorize_url
    assert all(made.resources.values()), "no scope"
    assert set(made.servers) <= {"imap", "pop3", "smtp"}
    assert "imap" in made.servers


def test_microsoft_as_its_pages_have_it(where):
    made = app(where, 'preset = "microsoft-business"\nclient_id = "x"\ntenant = "firma.example"\n'
               'use = ["imap", "graph"]')
    assert made.authorize_url == "https://login.microsoftonline.com/firma.example/oauth2/v2.0/authorize"
    assert made.scope() == "offline_access https://outlook.office.com/IMAP.AccessAsUser.All"
    assert made.scope("graph") == "offline_access https://graph.microsoft.com/Mail.Send"
    assert (made.authentication, made.rotation, made.refresh_scope) == ("none", "overlap", True)
    alone = app(where, 'preset = "microsoft-business"\nclient_id = "x"\ngrant = "client_credentials"\n'
                'private_key = "file:secrets/key.pem"\ncertificate = "c.pem"')
    assert (alone.scope(), alone.authentication) == ("https://outlook.office365.com/.default", "private_key_jwt")


def test_own_keys_come_over_the_presets(where):
    made = app(where, 'preset = "google"\nclient_id = "x"\nclient_secret = "file:secrets/g"\n'
               'servers = { imap = "imap.lan:993" }\nauthorize = { prompt = "select_account" }')
    assert made.authorize == {"access_type": "offline", "prompt": "select_account"}
    assert made.servers["imap"] == "imap.lan:993"
    assert made.servers["smtp"] == "smtp.gmail.com:587"
    assert made.scope() == "https://mail.google.com/"


def test_a_preset_of_ones_own_is_used_in_place(where):
    (where.conf / "oauth_presets").mkdir()
    (where.conf / "oauth_presets" / "google.toml").write_text('authorize_url = "https://a.example"\n'
                                                              'token_url = "https://t.example"\n')
    assert app(where, 'preset = "google"\nclient_id = "x"').token_url == "https://t.example"


@pytest.mark.parametrize(("text", "said"), [
    ('client_id = "x"', "token_url must be set"),
    ('preset = "nobody"\nclient_id = "x"', "there is no 'nobody'"),
    ('preset = "google"', "client_id must be set"),
    ('preset = "google"\nclient_id = "x"\nclient_secret = "geheim"', "must say where the secret lies"),
    ('preset = "google"\nclient_id = "x"\nrefresh_secret = "y"', "unknown key"),
    ('preset = "google"\nclient_id = "x"\ntoken_url = "http://t.example"', "no https URL"),
    ('preset = "google"\nclient_id = "x"\ngrant = "client_credentials"', "needs a client_secret"),
    ('preset = "google"\nclient_id = "x"\nname = "y"', "the file's name is the app's name"),
    ('preset = "google"\nclient_id = "x"\nclient_secret_expires = "soon"', "is not a day"),
])
def test_what_is_wrong_with_an_app_is_said(where, text, said):
    with pytest.raises(ConfigError, match=said) as caught:
        app(where, text)
    assert "geheim" not in str(caught.value)


def test_names_of_apps(where):
    app(where, 'preset = "google"\nclient_id = "x"', "b")
    app(where, 'preset = "google"\nclient_id = "x"\nclient_secret_expires = 2027-05-31', "a")
    assert apps.names(where) == ["a", "b"]
    assert apps.load(where, "a").client_secret_expires == "2027-05-31"
    for bad in ("", "../x", "A", ".x", "a/b"):
        with pytest.raises(ConfigError):
            apps.file_of(where, bad)
