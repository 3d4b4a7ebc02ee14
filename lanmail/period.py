"""From when until when something counts, as people write it: "2026-12-24", "2026-12-24 12:00".

    of("2026-12-24", "2027-01-06").contains(time.time())

Times are those of the machine's clock and zone. Both ends belong to it: a last day counts until 23:59:59, a last minute
written as "12:00" until this second is over. An empty end is none. TOML's own dates (without quotes) are read, too.
"""

import datetime
import re
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

_WRITTEN = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d))?)?")


@dataclass(frozen=True, slots=True)
class Period:
    """Seconds since 1970: from `begin` on, up to and without `end`."""

    begin: float
    end: float

    def contains(self, now: float) -> bool:
        """Whether this moment (as time.time has it) lies in it."""
        return self.begin <= now < self.end


def moment(value: Any) -> str:
    """A day or a moment as it stands in settings, nothing for none. ValueError with a sentence."""
    if value == "":
        return ""
    if isinstance(value, datetime.datetime) and value.tzinfo is None:
        text = value.strftime("%Y-%m-%d %H:%M:%S")
    elif isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        text = value.isoformat()
    else:
        text = value.strip() if isinstance(value, str) else ""
    try:
        _read(text)
    except ValueError:
        raise ValueError(f'{str(value)!r} is no day or moment; write it like "2026-12-24" or "2026-12-24 12:00", in '
                         "local time") from None
    return text.replace("T", " ").removesuffix(":00") if len(text) > 16 else text.replace("T", " ")


def of(begin: str, end: str) -> Period:
    """Of two moments as `moment` returns them; an empty one is open."""
    return Period(_read(begin)[0].timestamp() if begin else float("-inf"),
                  _read(end)[1].timestamp() if end else float("inf"))


def _read(text: str) -> tuple[datetime.datetime, datetime.datetime]:
    """The first moment that is meant, and the first one behind it, in local time. ValueError."""
    match = _WRITTEN.fullmatch(text)
    if match is None or not 1970 <= int(match[1]) < 9999:
        raise ValueError(text)
    day = [int(part) for part in match.group(1, 2, 3)]
    if match[4] is None:
        start = datetime.datetime(day[0], day[1], day[2])
        after = start + datetime.timedelta(days=1)
    else:
        start = datetime.datetime(day[0], day[1], day[2], int(match[4]), int(match[5]), int(match[6] or 0))
        after = start + datetime.timedelta(seconds=1)
    # fold: of an hour that the clock shows twice in autumn, both belong to it
    return start, after.replace(fold=1)


Moment = Annotated[str, BeforeValidator(moment), WithJsonSchema({
    "type": "string", "pattern": r"^(\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?)?$", "examples": ["2026-12-24 12:00"]})]
