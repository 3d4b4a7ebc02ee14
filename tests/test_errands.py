"""relay carries out jobs: short messages by each gateway, documents by HTTP, and what comes of those that fail."""

import asyncio
import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from lanmail import jobs, log, relay, spool
from lanmail.administration import backlog
from tests import httppeer
from tests.relayroot import Root, Running, until

TEXT = "Grüße €"


def office(base: Path, sms: str = "", more: str = "") -> Root:
    return Root(base, settings=f"{more}\n[sms]\n{sms}\n")


def put(root: Root, kind: str = jobs.SMS, *, age: float = 0.0, body: bytes = TEXT.encode(), **fields: str) -> str:
    """A job; its id."""
    fields = fields or {"To": "+491791234567", "From": "Eva & Co", "Subject": 'a"b'}
    owner = spool.jobs(root.paths)
    owner.ensure()
    entry_id = spool.new_id()
    if age:
        entry_id = f"{int(time.time() - age)}.{entry_id.partition('.')[2]}"
    names = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    owner.put(*jobs.compose(jobs.Job(kind, "meier", names, body, "17.M1"), "office.lan"), entry_id)
    return entry_id


def left(root: Root) -> list[str]:
    return [name for place in ("new", "cur") for name in os.listdir(root.paths.jobs / place)]


def state(root: Root, entry_id: str) -> Path:
    return root.paths.state / "jobs" / f"{entry_id}.json"


def due(root: Root, entry_id: str) -> None:
    path = state(root, entry_id)
    path.write_text(json.dumps({**json.loads(path.read_text()), "next": 0}))


async def test_a_file_for_smstools_and_one_for_gammu(tmp_path) -> None:
    for gateway, name in (("smstools", "lanmail.*"), ("gammu", "OUTC*_00_+491791234567_lanmail*.smsbackup")):
        root, target = office(tmp_path / gateway), tmp_path / gateway / "gateway"
        target.mkdir()
        root.configure("", f'[sms]\ngateway = "{gateway}"\ndirectory = "{target}"\n')
        entry_id = put(root)
        assert await root.once() == 0
        (path,) = target.glob(name)
        assert [one.name for one in target.iterdir()] == [path.name]
        assert left(root) == []
        assert not state(root, entry_id).exists()
        (line,) = root.events("sent")
        assert f"id={entry_id} to=+491791234567 transport=sms" in line
        assert TEXT not in line


async def test_a_second_try_finds_the_file_of_the_first(tmp_path, monkeypatch) -> None:
    root, target = office(tmp_path), tmp_path / "gateway"
    target.mkdir()
    root.configure("", f'[sms]\ngateway = "smstools"\ndirectory = "{target}"\n')
    entry_id = put(root)
    real, killed = os.unlink, []

    def unlink(path, **more):
        if str(path).startswith(entry_id) and not killed:
            killed.append(path)
            raise OSError(5, "the moment before the entry is removed")
        return real(path, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        assert await root.once() == os.EX_TEMPFAIL
    assert killed
    assert left(root)
    assert await root.once() == 0
    assert len(list(target.iterdir())) == 1
    assert left(root) == []
    assert root.events("resumed")


HTTP = """gateway = "http"
url = "http://127.0.0.1:{port}/send?from={{from}}&x={{sender}}"
sender = "Fa & Co"
headers = {{ X-Api-Key = "{{secret}}", Authorization = "Basic {{secret}}" }}
password = "file:secrets/gw"
{more}
"""


async def ask(tmp_path, answer, more: str) -> tuple[Root, httppeer.Peer, int]:
    root = office(tmp_path)
    root.paths.secrets.mkdir()
    (root.paths.secrets / "gw").write_text("k3y\n")
    (root.paths.secrets / "gw").chmod(0o600)
    async with httppeer.Peer(answer) as peer:
        root.configure("", "[sms]\n" + HTTP.format(port=peer.port, more=more))
        put(root)
        code = await root.once()
    return root, peer, code


async def test_a_form_by_http_is_escaped_and_carries_the_secret(tmp_path) -> None:
    root, peer, code = await ask(tmp_path, httppeer.ok(), 'form = { to = "{digits}", text = "{text}" }')
    assert code == 0
    assert left(root) == []
    ((head, body),) = peer.requests
    assert head.startswith(b"POST /send?from=Eva%20%26%20Co&x=Fa%20%26%20Co HTTP/1.1\r\n")
    assert b"\r\nX-Api-Key: k3y\r\n" in head
    assert b"\r\nAuthorization: Basic k3y\r\n" in head
    assert body == b"to=491791234567&text=Gr%C3%BC%C3%9Fe+%E2%82%AC"
    assert "k3y" not in "".join(root.events("sent") + root.events("tried"))


async def test_a_json_text_by_http_stays_json_whatever_the_subject_is(tmp_path) -> None:
    body = """json_body = '{"to": ["{to}"], "text": "{text}", "s": "{subject}"}'"""
    _, peer, code = await ask(tmp_path, httppeer.ok(), body)
    assert code == 0
    assert json.loads(peer.requests[0][1]) == {"to": ["+491791234567"], "text": TEXT, "s": 'a"b'}
    assert b"Content-Type: application/json" in peer.requests[0][0]


@pytest.mark.parametrize(("answer", "more", "taken"), [
    (httppeer.ok(b"100"), 'ok_pattern = "^100$"', True),
    (httppeer.ok(b"900"), 'ok_pattern = "^100$"', False),
    (b"HTTP/1.1 402 Payment Required\r\nContent-Length: 0\r\n\r\n", "", False),
    (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "", False),
    (b"HTTP/1.1 204 No Content\r\n\r\n", "ok = [204]", True),
    (b"", "", False),
])
async def test_what_counts_as_taken(tmp_path, answer, more, taken) -> None:
    root, _, code = await ask(tmp_path, answer, more)
    assert (code == 0) is taken
    assert (left(root) == []) is taken
    assert bool(root.events("deferred")) is not taken


async def test_a_secret_does_not_go_out_in_clear(tmp_path) -> None:
    root = office(tmp_path)
    root.paths.secrets.mkdir()
    (root.paths.secrets / "gw").write_text("k3y\n")
    (root.paths.secrets / "gw").chmod(0o600)
    root.configure("", "[sms]\n" + HTTP.format(port=1, more="").replace("127.0.0.1", "gateway.example"))
    put(root)
    assert await root.once() == os.EX_TEMPFAIL
    assert "a secret goes by https only" in root.events("tried")[0]


async def test_a_short_message_is_dropped_after_an_hour(tmp_path) -> None:
    root = office(tmp_path, f'gateway = "smstools"\ndirectory = "{tmp_path}/missing"')
    fresh, old = put(root, age=3500), put(root, age=3601)
    assert await root.once() == os.EX_TEMPFAIL
    assert [spool.parse_name(name).id for name in left(root)] == [fresh]
    assert f"id={old}" in root.events("untold")[0]
    known = json.loads(state(root, fresh).read_text())
    assert known["tries"] == 1
    assert known["next"] <= time.time() + 101
    assert "is not there" in known["error"]
    assert root.queued() == []


async def test_without_a_gateway_a_message_is_dropped_at_once(tmp_path) -> None:
    root = office(tmp_path)
    put(root)
    assert await root.once() == 0
    assert "no gateway" in root.events("untold")[0]


async def test_a_document_is_posted_as_it_is_or_as_a_file_of_a_form(tmp_path) -> None:
    root, body = office(tmp_path), b"\n<x>\xff\r\n\x00"
    async with httppeer.Peer(httppeer.ok()) as peer:
        url = f"http://127.0.0.1:{peer.port}/in.php?a=b"
        raw = put(root, jobs.POST, body=body, Url=url, Content_Type="application/xml")
        put(root, jobs.POST, body=body, Url=url, Variable='f"x', File_Name='../a"b\\.xml', Content_Type="bad type\x01")
        assert await root.once() == 0
    assert left(root) == []
    plain, form = sorted(peer.requests, key=lambda one: b"multipart" in one[0])
    assert plain[0].startswith(b"POST /in.php?a=b HTTP/1.1")
    assert plain[1] == body
    assert b"Content-Type: application/xml" in plain[0]
    assert f"X-Lanmail-Id: {raw}".encode() in plain[0]
    head, _, rest = form[1].partition(b"\r\n\r\n")
    assert b'name="f%22x"; filename=".._a%22b_.xml"\r\nContent-Type: application/octet-stream' in head
    assert rest.startswith(body + b"\r\n--lanmail-")
    assert all("?a=b" not in line for line in root.events("sent"))


async def test_only_200_counts_and_what_is_given_up_goes_to_hold_with_a_notice(tmp_path) -> None:
    root = office(tmp_path, more='[relay]\ngive_up = "1h"')
    async with httppeer.Peer(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n") as peer:
        entry_id = put(root, jobs.POST, Url=f"http://127.0.0.1:{peer.port}/")
        assert await root.once() == os.EX_TEMPFAIL
        old = put(root, jobs.POST, age=3700, Url=f"http://127.0.0.1:{peer.port}/")
        assert await root.once() == os.EX_TEMPFAIL
    assert [spool.parse_name(name).id for name in left(root)] == [entry_id]
    assert "HTTP 201 Created" in root.held()[old]
    ((head, text),) = root.queued()
    assert [str(one.address) for one in head.recipients] == ["meier@office.lan"]
    assert f"lanmail queue release {old}".encode() in text


async def test_a_document_out_of_hold_gets_its_whole_time_again(tmp_path) -> None:
    root = office(tmp_path, more='[relay]\ngive_up = "1h"')
    put(root, jobs.POST, age=9000, Url="http://127.0.0.1:1/")
    assert await root.once() == 0
    ((entry_id, _),) = root.held().items()
    backlog.release(root.paths, backlog.find(root.paths, entry_id))
    assert await root.once() == os.EX_TEMPFAIL
    assert root.held() == {}
    due(root, entry_id)
    async with httppeer.Peer(httppeer.ok()) as peer:
        path = root.paths.jobs / "cur" / left(root)[0]
        path.write_bytes(path.read_bytes().replace(b"127.0.0.1:1/", f"127.0.0.1:{peer.port}/".encode()))
        path.rename(path.with_name(entry_id))  # without sizes in its name
        assert await root.once() == 0
    assert left(root) == []


async def test_the_postmaster_hears_of_it_when_the_account_is_gone(tmp_path) -> None:
    root = office(tmp_path)
    put(root, jobs.POST, age=9e6, Url="http://127.0.0.1:1/")
    (root.paths.accounts / "meier.toml").unlink()
    assert await root.once() == 0
    ((head, _),) = root.queued()
    assert [str(one.address) for one in head.recipients] == ["postmaster@office.lan"]


@pytest.mark.parametrize("data", [b"", b"Subject: x\n\nno envelope\n", b"X-Sender: <>\nX-Receiver: <a@b.c>\n\nmail\n",
                                  b"X-Sender: <>\nX-Receiver: <a@b.c>\nX-Origin: job kind=sms account=a\nTo: 1\n"])
async def test_what_is_no_job_goes_to_hold(tmp_path, data) -> None:
    root = office(tmp_path)
    put(root, age=9000)
    (root.paths.jobs / "new" / "foreign").write_bytes(data)
    os.mkfifo(root.paths.jobs / "new" / "pipe")
    assert await root.once() == 0
    assert list(root.held()) == ["foreign"]
    assert left(root) == ["pipe"]
    assert root.events("left-alone")


async def test_a_running_relay_takes_jobs_at_once_and_sends_mail_meanwhile(tmp_path) -> None:
    """A gateway that says nothing holds up neither mail nor the other jobs."""
    folder = tmp_path / "out"
    folder.mkdir()
    async with httppeer.Peer("hang") as silent, httppeer.Peer(httppeer.ok()) as quick:
        root = Root(tmp_path / "root", f'transport = "folder"\nfolder.path = "{folder}"')
        async with Running(root) as running:
            put(root, jobs.POST, Url=f"http://127.0.0.1:{silent.port}/")
            await until(lambda: silent.requests, 20)
            root.put("x@far.example")
            put(root, jobs.POST, Url=f"http://127.0.0.1:{quick.port}/")
            await until(lambda: list(folder.glob("*.eml")) and root.events("sent"), 20)
            await until(lambda: len(left(root)) == 1, 20)
            running.relay.errands.stopping = True
            for task in running.relay.errands.tasks.values():
                task.cancel()


async def test_two_do_not_work_on_one_entry(tmp_path) -> None:
    """`lanmail queue` holds a lock while it looks: the job waits."""
    root = office(tmp_path)
    put(root, age=9000)
    path = root.paths.jobs / "new" / left(root)[0]
    with path.open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert await root.once() == os.EX_TEMPFAIL
    assert len(left(root)) == 1
    assert await root.once() == 0
    assert left(root) == []


async def test_lanmail_queue_retry_wakes_a_sleeping_job(tmp_path) -> None:
    root, target = office(tmp_path, f'gateway = "smstools"\ndirectory = "{tmp_path}/gateway"'), tmp_path / "gateway"
    async with Running(root):
        entry_id = put(root)
        await until(lambda: root.events("deferred"), 20)
        target.mkdir()
        await until(lambda: backlog.find(root.paths, entry_id).state == "deferred", 20)
        backlog.retry(root.paths, backlog.find(root.paths, entry_id))
        await until(lambda: list(target.glob("lanmail.*")) and not left(root), 20)


def test_state_without_an_entry_is_forgotten(tmp_path) -> None:
    root = office(tmp_path)
    log.setup("relay", root.paths.log)
    (root.paths.state / "jobs").mkdir(parents=True)
    (root.paths.state / "jobs" / "1.M1.json").write_text("{}")
    assert asyncio.run(relay.once(root.context())) == 0
    assert not list((root.paths.state / "jobs").iterdir())
