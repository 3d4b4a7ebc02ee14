"""INTERNALDATE is the server's local time, also on the days when the clocks change."""

import random
import time
from collections.abc import Iterator

import pytest

from lanmail.imap import items


@pytest.fixture(params=["Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"])
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def forget() -> None:
        time.tzset()
        items._offset.cache_clear()

    monkeypatch.setenv("TZ", request.param)
    forget()
    yield
    monkeypatch.undo()
    forget()


@pytest.mark.usefixtures("zone")
def test_internal_date() -> None:
    dice = random.Random(3)
    changes = [1743296400, 1761440400, 1741503600, 1762063200]  # in Berlin and in North America
    moments = [change + step for change in changes for step in (-86400, -1, 0, 1, 3599, 3600, 43200)]
    for moment in [*moments, -1.5, 0, 0.9, *(dice.uniform(-1e9, 4e9) for _ in range(500))]:
        local = time.localtime(moment)
        minutes, sign = abs(local.tm_gmtoff) // 60, "-" if local.tm_gmtoff < 0 else "+"
        month = items.MONTHS[local.tm_mon - 1]
        expected = (f'"{local.tm_mday:2d}-{month}-{local.tm_year:04d} {time.strftime("%H:%M:%S", local)} '
                    f'{sign}{minutes // 60:02d}{minutes % 60:02d}"')
        assert items.internal_date(moment).decode() == expected


def test_percent_signs_in_the_name_of_a_field_stay() -> None:
    item = items.Item("SECTION", b'BODY[HEADER.FIELDS ("%d%b")]')
    assert item.form % b"{2}\r\n\r\n" == b'BODY[HEADER.FIELDS ("%d%b")] {2}\r\n\r\n'
    assert items.Item("FLAGS", b"FLAGS").form % b"\\Seen" == b"FLAGS (\\Seen)"
