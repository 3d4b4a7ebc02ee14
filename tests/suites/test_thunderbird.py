"""Thunderbird in a window that nobody sees; what it does is in thunderbird.py."""

import json
import random
from pathlib import Path

import pytest

from tests.e2e.office import DOMAIN, Office, mail, need

SUBJECTS = [f"mail {number}" for number in range(8)]
RICH = """From: =?utf-8?q?J=C3=BCrgen?= <a@example.org>
To: x@office.lan
Subject: =?utf-8?q?Gr=C3=B6=C3=9Fe?=
Date: Sat, 21 Nov 2026 10:09:00 +0100
Message-ID: <rich@test>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Grüße aus dem Körper
--b
Content-Type: text/plain
Content-Disposition: attachment; filename*=utf-8''%C3%9Cbersicht.txt

Anhang
--b--
"""


@pytest.mark.needs("LANMAIL_THUNDERBIRD")
def test_thunderbird(office: Office, account: str, given: Path, tmp_path: Path) -> None:
    need("thunderbird", "xvfb-run")
    for one in [*(mail(subject) for subject in SUBJECTS), RICH.encode()]:
        office.put(account, one)
    office.arrived(account, len(SUBJECTS) + 1)
    settings = tmp_path / "settings.json"
    port = random.randrange(32_000, 60_000, 2)
    settings.write_text(json.dumps({
        "user": account, "password": office.passwords[account], "address": f"{account}@{DOMAIN}", "ca": str(office.ca),
        "imaps": office.port(993), "submissions": office.port(465), "directory": str(tmp_path),
        "marionette": port, "mails": len(SUBJECTS) + 1, "subjects": [*SUBJECTS, "Größe"]}))
    script = Path(__file__).with_name("thunderbird.py")
    done = office.run("xvfb-run", "-a", "-s", "-screen 0 1280x900x24", given, script, settings, timeout=300)
    assert done.stdout.endswith("all done\n"), done.stdout
    assert (tmp_path / "thunderbird.png").stat().st_size > 10_000
