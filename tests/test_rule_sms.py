"""Short messages through deliver: which mail gets one, what it says, how many."""

import json
import time
from email.utils import formatdate

import pytest

from lanmail import address, envelope, jobs, spool
from tests.mailroot import Root, files

GATEWAY = '[sms]\ngateway = "smstools"\ndirectory = "/nowhere"\nmax_per_minute = 0\n'
NUMBER = '[sms]\nto = "01791234567"\n'


def office(tmp_path, settings: str = GATEWAY, account: str = NUMBER) -> Root:
    root = Root(tmp_path, settings=settings)
    (root.paths.accounts / "meier.toml").write_text(account)
    return root


def mail(more: str = "", subject: str = "Angebot") -> bytes:
    lines = f"Return-Path: <a@far.example>\nFrom: Eva Beispiel <a@far.example>\nSubject: {subject}\n{more}"
    return f"{lines}\nbody\n".encode()


def made(root: Root) -> list[jobs.Job]:
    found = []
    for data in files(root.paths.jobs / "new"):
        head, offset = envelope.decode(data)
        assert head is not None
        found.append(jobs.read(head, data[offset:]))
    return found


def test_a_mail_makes_one_job_and_lies_in_the_mailbox(tmp_path) -> None:
    root = office(tmp_path)
    subject = "=?utf-8?q?Gr=C3=BC=C3=9Fe_=E2=80=9Ezum?=\n =?utf-8?q?_Fest=E2=80=9C?="
    entry_id = root.put("meier@office.lan", message=mail(subject=subject))
    root.put("schmidt@office.lan", message=mail())
    assert root.run() == 0
    (job,) = made(root)
    assert job.body.decode() == 'Mail from Eva Beispiel: Grüße "zum Fest"'
    assert (job.kind, job.account, job.of, job.get("To")) == ("sms", "meier", entry_id, "+491791234567")
    assert (job.get("From"), job.get("Subject")) == ("Eva Beispiel", "Grüße „zum Fest“")
    assert len(root.inbox("meier")) == len(root.inbox("schmidt")) == 1


@pytest.mark.parametrize(('more', 'facts'), [
    ("Auto-Submitted: auto-replied\n", {}), ("List-Id: <x>\n", {}), ("Precedence: bulk\n", {}),
    ("", {"sender": None}), ("", {"sender": "meier@office.lan"}), ("", {"kind": "local"}),
    ("", {"sender": "sales@office.lan"}),  # an alias of the account alone
    ("", {"sender": "info2@office.lan", "kind": "submission", "account": "meier"}),
    (f"Date: {formatdate(1e9)}\n", {"kind": "fetch", "account": "meier"}),
])
def test_mail_that_nobody_wrote_to_be_read_now_makes_none(tmp_path, more, facts) -> None:
    root = office(tmp_path)
    root.put("meier@office.lan", message=mail(more), **facts)
    assert root.run() == 0
    assert made(root) == []
    assert len(root.inbox("meier")) == 1


@pytest.mark.parametrize(('settings', 'account'), [
    (GATEWAY, NUMBER + "[einvoice]\nenabled = true\n"), ("", NUMBER), (GATEWAY, "disabled = false\n"),
    (GATEWAY + 'quiet = ["Mon-Sun"]\n', NUMBER), (GATEWAY, NUMBER + 'quiet = ["Mon-Sun"]\n'),
])
def test_settings_that_ask_for_none(tmp_path, settings, account) -> None:
    root = office(tmp_path, settings, account)
    root.put("meier@office.lan", message=mail())
    assert root.run() == 0
    assert made(root) == []
    assert len(root.inbox("meier")) == 1


def test_an_account_with_quiet_times_of_its_own_does_not_have_those_of_all(tmp_path) -> None:
    other_days = time.strftime("%a", time.localtime(time.time() + 3 * 86400))
    root = office(tmp_path, GATEWAY + 'quiet = ["Mon-Sun"]\n', NUMBER + f'quiet = ["{other_days}"]\n')
    root.put("meier@office.lan", message=mail())
    root.run()
    assert len(made(root)) == 1


def test_fetched_mail_of_today_and_without_a_date_makes_one(tmp_path) -> None:
    root = office(tmp_path)
    for more in (f"Date: {formatdate()}\n", "Date: nonsense\n", ""):
        root.put("meier@office.lan", message=mail(more), kind="fetch", account="meier")
    root.run()
    assert len(made(root)) == 3


def test_the_caps_hold_for_each_account(tmp_path) -> None:
    root = office(tmp_path, GATEWAY.replace("max_per_minute = 0", "max_per_minute = 0\nmax_per_day = 2"))
    (root.paths.accounts / "schmidt.toml").write_text(NUMBER)
    for _ in range(4):
        root.put("meier@office.lan", message=mail())
    root.put("schmidt@office.lan", message=mail())
    root.run()
    assert sorted(job.account for job in made(root)) == ["meier", "meier", "schmidt"]
    assert len(root.inbox("meier")) == 4


def test_one_a_minute_unless_the_settings_say_otherwise(tmp_path) -> None:
    root = office(tmp_path, GATEWAY.replace("max_per_minute = 0\n", ""))
    for _ in range(3):
        root.put("meier@office.lan", message=mail())
    root.run()
    assert len(made(root)) == 1
    state = root.paths.state / "sms" / "meier.json"
    state.write_text(json.dumps([(at - 61, one) for at, one in json.loads(state.read_text())]))
    root.put("meier@office.lan", message=mail())
    root.run()
    assert len(made(root)) == 2


def test_asked_again_for_the_same_mail_the_caps_say_the_same(tmp_path) -> None:
    root = office(tmp_path, GATEWAY + "max_per_day = 1\n")
    first = root.put("meier@office.lan", message=mail())
    root.run()
    (name,) = spool.jobs(root.paths).names()
    (root.paths.jobs / "new" / name).unlink()
    (one,) = (root.paths.maildirs / "meier/new").iterdir()
    one.unlink()
    root.put("meier@office.lan", message=mail())
    root.run()
    assert made(root) == []  # beyond the cap
    head = envelope.Envelope(address.parse("a@far.example"), [envelope.Recipient(address.parse("meier@office.lan"))],
                             origin=envelope.Origin("mx"))
    root.queue.put(head, mail(), first)
    root.run()
    assert [job.of for job in made(root)] == [first]


@pytest.mark.parametrize("damage", ["{", "[1]", '{"a": 1}', '[["x", "y"]]'])
def test_damaged_counts_are_none(tmp_path, damage) -> None:
    root = office(tmp_path)
    (root.paths.state / "sms").mkdir(parents=True)
    (root.paths.state / "sms" / "meier.json").write_text(damage)
    root.put("meier@office.lan", message=mail())
    assert root.run() == 0
    assert len(made(root)) == 1


def test_trouble_with_the_counts_does_not_delay_the_mail(tmp_path, capsys) -> None:
    root = office(tmp_path)
    root.paths.state.mkdir(parents=True, exist_ok=True)
    (root.paths.state / "sms").write_text("a file in the way")
    root.put("meier@office.lan", message=mail())
    assert root.run() == 0
    assert len(root.inbox("meier")) == 1
    assert made(root) == []
    assert "no short message" in capsys.readouterr().err


def test_a_gateway_that_takes_mail_gets_one_from_us(tmp_path) -> None:
    root = office(tmp_path, '[sms]\ngateway = "mail"\nmail_to = "{digits}@gw.example"\nmail_from = "chef@office.lan"\n')
    root.put("meier@office.lan", message=mail())
    assert root.run() == 0
    assert root.run() == 0  # the new mail was in the queue
    (text,) = files(root.paths.outbound / "new")
    assert b"X-Sender: <chef@office.lan>" in text
    assert b"X-Receiver: <491791234567@gw.example>" in text
    assert b"Auto-Submitted: auto-generated" in text
    assert text.endswith(b"\n\nMail from Eva Beispiel: Angebot\n")


def test_what_a_stranger_writes_stays_text(tmp_path) -> None:
    """Placeholders in a subject are not filled in, and nothing in a mail starts a line of the job."""
    root = office(tmp_path, GATEWAY + 'text = "{from}|{subject}|{account}"\n')
    subject = "{from}{account} =?utf-8?q?a=0AUrl:_http://evil/=0D=0A=E2=80=AE?=x"
    root.put("meier@office.lan", message=mail(subject=subject))
    root.run()
    (job,) = made(root)
    assert job.body.decode() == "Eva Beispiel|{from}{account} a Url: http://evil/ x|meier"
    assert job.get("Url") == ""


def test_an_author_without_a_name_is_his_address(tmp_path) -> None:
    root = office(tmp_path)
    for value in ("<x@y.example>", ""):
        root.put("meier@office.lan", message=f"Return-Path: <a@far.example>\nFrom: {value}\nSubject: s\n\n".encode())
    root.run()
    assert sorted(job.get("From") for job in made(root)) == ["a@far.example", "x@y.example"]
