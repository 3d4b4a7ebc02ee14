"""Sets of numbers as IMAP writes them (RFC 3501 §9, `sequence-set`)."""

from collections.abc import Iterable


def text(numbers: Iterable[int]) -> str:
    """In the order given, what follows one another drawn together: `1:3,7`; "" for no numbers."""
    parts: list[str] = []
    first = last = -1
    for number in numbers:
        if number == last + 1 and parts:
            last = number
            continue
        if last > first:
            parts[-1] += f":{last}"
        parts.append(str(number))
        first = last = number
    if last > first:
        parts[-1] += f":{last}"
    return ",".join(parts)
