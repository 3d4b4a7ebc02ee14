"""Text of any charset that mail names, decoded without ever raising.

Only codecs for text are let in: Python also knows bz2, hex or punycode under such names. A name means what senders mean
by it: iso-8859-1 is windows-1252 (as the WHATWG has it), us-ascii with 8-bit octets is UTF-8 or else windows-1252.
"""

import codecs
import functools
import re

_ALIASES = {
    "iso88591": "cp1252",
    "latin1": "cp1252",
    "iso88599": "cp1254",
    "latin5": "cp1254",
    "iso885911": "cp874",
    "tis620": "cp874",
    "isoir6": "ascii",
    "ansix341968": "ascii",
    "usascii": "ascii",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "xgbk": "gb18030",
    "euccn": "gb18030",
    "chinese": "gb18030",
    "gb231280": "gb18030",
    "ksc56011987": "cp949",
    "ksc5601": "cp949",
    "euckr": "cp949",
    "korean": "cp949",
    "shiftjis": "cp932",
    "sjis": "cp932",
    "xsjis": "cp932",
    "windows31j": "cp932",
    "mskanji": "cp932",
    "iso2022jp": "iso2022_jp_ext",
    "iso2022jpesc": "iso2022_jp_ext",
    "big5": "big5hkscs",
    "xxbig5": "big5hkscs",
    "xbig5": "big5hkscs",
    "iso88598i": "iso8859-8",
    "iso88598e": "iso8859-8",
    "iso88596i": "iso8859-6",
    "iso88596e": "iso8859-6",
    "macintosh": "mac-roman",
    "xmacroman": "mac-roman",
    "xmaccyrillic": "mac-cyrillic",
    "unicode11utf7": "utf-7",
    "xunicode20utf7": "utf-7",
    "unicode11utf8": "utf-8",
    "ansi": "cp1252",
    "xansi": "cp1252",
    "windows": "cp1252",
    "koi8": "koi8-r",
    "dos": "cp850",
}
_TEXT_CODEC = re.compile(
    r"ascii|utf-(7|8|8-sig|16|32)(-[lb]e)?|iso8859-\d+|cp\d+|koi8-[rtu]|mac-\w+|gb2312|gbk|gb18030|big5\w*|euc_\w+"
    r"|iso2022_\w+|shift_jis\w*|johab|hz|ptcp154|kz1048|hp-roman8"
).fullmatch
_junk = re.compile(r"[^a-z0-9]+")
_vendor = re.compile(r"(?:ms|ibm|xcp|windows|xwindows|cswindows|win|cp)(\d{3,4})").fullmatch
_PROBE = bytes(range(32, 127)) + b"\t\r\n"


def decode(data: bytes, name: str | bytes | None) -> str:
    """The text. An unknown or missing charset is taken as UTF-8, or windows-1252 if that does not fit."""
    found = codec(name)
    if found is not None and found != "ascii":
        return data.decode(found, "replace")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def codec(name: str | bytes | None) -> str | None:
    """Python's name of the charset, None when there is no such charset."""
    return _codec(name[:80]) if name else None


@functools.lru_cache(maxsize=256)
def _codec(given: str | bytes) -> str | None:
    name = (given if isinstance(given, str) else given.decode("ascii", "replace")).lower()
    # RFC 2231 §5: charset*language.
    name = name.partition("*")[0].strip(" \t\"'")
    squeezed = _junk.sub("", name)
    vendor = _vendor(squeezed)
    candidates = (_ALIASES.get(squeezed), "cp" + vendor[1] if vendor else None, name)
    for candidate in candidates:
        if not candidate or not candidate.isascii():
            continue
        try:
            found = codecs.lookup(_junk.sub("-", candidate).strip("-")).name
        except (LookupError, ValueError):
            continue
        if _TEXT_CODEC(found):
            return "cp1252" if found == "iso8859-1" else found
    return None


def like_ascii(name: str | bytes | None) -> bool:
    """Whether octets that look like ASCII are: not so in UTF-7, UTF-16, ISO-2022-JP."""
    return _like_ascii(codec(name))


@functools.lru_cache(maxsize=256)
def _like_ascii(found: str | None) -> bool:
    if found is None or found == "ascii":
        return True
    if found.startswith(("iso2022", "hz", "utf-7")):
        return False
    return _PROBE.decode(found, "replace") == _PROBE.decode("ascii")
