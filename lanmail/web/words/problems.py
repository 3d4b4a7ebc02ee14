"""What is wrong with a value, in German: the sentences of schema.py and units.py that people see most."""

import re
from collections.abc import Callable

_VALUE = r"(?:[\w.\[\]]+: )?['\"]?(.*?)['\"]? "
_KNOWN: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r".*must be (-?\d+) or more.*", lambda m: f"Mindestens {m[1]}."),
    (r".*must be (-?\d+) or less.*", lambda m: f"Höchstens {m[1]}."),
    (r".*must be a whole number.*", lambda m: "Hier muss eine ganze Zahl stehen."),
    (r".*must not be empty.*", lambda m: "Hier muss etwas stehen."),
    (r".*must have at most (\d+) character.*", lambda m: f"Höchstens {m[1]} Zeichen."),
    (_VALUE + r"is not a size.*",
     lambda m: f"„{m[1]}“ ist keine Größe; schreiben Sie zum Beispiel 512KB, 50MB oder 2GB."),
    (_VALUE + r"is not a duration.*",
     lambda m: f"„{m[1]}“ ist keine Dauer; schreiben Sie zum Beispiel 30s, 5m, 12h oder 3d."),
    (_VALUE + r"is not a network.*", lambda m: f"„{m[1]}“ ist kein Netz; schreiben Sie zum Beispiel 192.168.1.0/24."),
    (_VALUE + r"has bits set behind the network part; did you mean '(.*)'\?",
     lambda m: f"„{m[1]}“ hat Bits hinter dem Netzanteil; meinten Sie {m[2]}?"),
    (_VALUE + r"is not an IP address.*", lambda m: f"„{m[1]}“ ist keine IP-Adresse."),
    (_VALUE + r"is not a domain.*", lambda m: f"„{m[1]}“ ist keine Domain; schreiben Sie zum Beispiel office.lan."),
    (_VALUE + r"is not a mail address.*", lambda m: f"„{m[1]}“ ist keine Mailadresse."),
    (_VALUE + r"is not a mode.*", lambda m: f"„{m[1]}“ ist keine Maske; schreiben Sie drei Ziffern wie 027."),
    (r".*port (\d+) is already used by (\S+)", lambda m: f"Port {m[1]} benutzt schon {m[2]}."),
    (r".*port (\d+) \(with server.port_offset\) is above 65535", lambda m: f"Port {m[1]} ist größer als 65535."),
    (r"it was changed meanwhile.*",
     lambda m: "Inzwischen hat jemand anderes die Einstellungen geändert. Bitte sehen Sie sie noch einmal an."),
)


def german(text: str) -> str:
    """The sentence in German; what nobody has thought of stays as it is."""
    for pattern, sentence in _KNOWN:
        if found := re.fullmatch(pattern, text, re.S):
            return sentence(found)
    return f"Das geht nicht: {text}"
