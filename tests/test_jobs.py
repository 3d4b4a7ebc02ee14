"""Jobs: their form, and that they are entries like any other for whoever looks at the spools."""

import json

import pytest
from click.testing import CliRunner

from lanmail import admin, envelope, jobs, spool
from tests.mailroot import Root

SMS = jobs.Job(jobs.SMS, "meier", (("To", "+491791234567"), ("Subject", "Grüße")), "Neue Mail: Grüße".encode(), "17.M1")


def test_a_job_is_an_entry_and_comes_back_from_it() -> None:
    head, text = jobs.compose(SMS, "office.lan")
    decoded, offset = envelope.decode(envelope.encode(head) + text)
    assert decoded is not None
    assert decoded.sender is None
    assert [str(one.address) for one in decoded.recipients] == ["meier@office.lan"]
    found = jobs.read(decoded, (envelope.encode(head) + text)[offset:])
    assert (found.kind, found.account, found.of, found.body) == (SMS.kind, SMS.account, SMS.of, SMS.body)
    assert found.get("Subject") == "Grüße"
    assert found.get("Url") == ""


def test_a_document_keeps_every_octet() -> None:
    body = b"\n\n\xff\xfe<\x00\r\n\r\n" + bytes(range(256))
    head, text = jobs.compose(jobs.Job(jobs.POST, "meier", (("Url", "https://x.example/"),), body), "office.lan")
    assert jobs.read(head, text).body == body


def test_what_a_stranger_wrote_starts_no_field_of_its_own() -> None:
    evil = jobs.Job(jobs.SMS, "meier", (("Subject", "a\nUrl: http://evil.example\r\n\r\nb\x85c\u2028d"),), b"x")
    found = jobs.read(*jobs.compose(evil, "office.lan"))
    assert found.get("Url") == ""
    assert found.body == b"x"
    assert found.get("Subject") == "a Url: http://evil.example    b c d"
    with pytest.raises(ValueError, match="cannot be a field"):
        jobs.compose(jobs.Job(jobs.SMS, "meier", (("Bad\nName", ""),), b""), "office.lan")


@pytest.mark.parametrize("origin", [None, envelope.Origin("mx"), envelope.Origin("job", (("kind", "rm"),)),
                                    envelope.Origin("job", (("kind", "sms"),))])
def test_what_is_no_job_is_said_to_be_none(origin: envelope.Origin | None) -> None:
    with pytest.raises(ValueError, match="no job"):
        jobs.read(envelope.Envelope(None, origin=origin), b"To: 1\n\nx")
    with pytest.raises(ValueError, match="no whole job"):
        jobs.read(jobs.compose(SMS, "office.lan")[0], b"To: 1\n")


def test_lanmail_queue_lists_holds_releases_and_removes_jobs(tmp_path) -> None:
    root = Root(tmp_path)
    assert root.run() == 0  # makes the spools
    owner = spool.jobs(root.paths)
    entry_id = spool.parse_name(owner.put(*jobs.compose(SMS, "office.lan"))).id

    def call(*words: str) -> str:
        result = CliRunner().invoke(admin.cli, ["queue", *words, "--root", str(root.paths.root)])
        assert result.exit_code == 0, result.output
        return result.output

    (one,) = json.loads(call("list", "--json"))
    assert (one["id"], one["spool"], one["origin"]) == (entry_id, "jobs", "job")
    assert "Neue Mail: Grüße" in call("show", entry_id)
    call("hold", entry_id)
    assert owner.names() == []
    call("release", entry_id)
    assert spool.parse_name(*owner.names()).id == entry_id
    call("remove", "--yes", entry_id)
    assert owner.names() == []


def test_init_makes_the_spool_and_doctor_misses_it(tmp_path) -> None:
    def call(*words: str) -> str:
        return CliRunner().invoke(admin.cli, [*words, "--root", str(tmp_path / "r")]).output

    call("init", "--domain", "office.lan")
    assert (tmp_path / "r/spool/jobs/new").is_dir()
    (tmp_path / "r/spool/jobs/cur").rmdir()
    assert "spool/jobs/cur does not exist" in call("doctor")
