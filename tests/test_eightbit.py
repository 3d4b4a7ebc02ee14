"""8-bit text on its way to a server that takes 7 bits only: what it says stays what it was."""

import pytest

from lanmail import eightbit
from lanmail.mime import decoding, textparts

HEAD = b"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"


def read(data: bytes) -> list[bytes]:
    """The texts as a mail program decodes them."""
    return [decoding.decode(part.body, part.content.encoding) for part in textparts.of(data)]


@pytest.mark.parametrize("line", [
    b"", b"Content-Transfer-Encoding: 8bit\n", b"Content-Transfer-Encoding:\n BINARY\n",
    b"Content-Transfer-Encoding: quoted-printable\n", b"Content-Transfer-Encoding: Quoted-Printable (sic)\n",
    b"Content-Transfer-Encoding: base64\n",
])
@pytest.mark.parametrize("frame", [
    b"%b", b"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\n%b\n--b--\n"])
def test_what_was_encoded_already_is_not_encoded_twice(line: bytes, frame: bytes) -> None:
    """A mail with raw umlauts in what it calls quoted-printable or base64 is common, and arrived as =FC."""
    text = b"Gr\xc3\xbc\xc3\x9fe =C3=BC =\n--=20\n" if b"8bit" not in line else "Grüße = 2\n".encode()
    if b"base64" in line:
        text = b"R3LDvMOfZQ==\xc3\xbc\n"
    data = frame % (HEAD + line + b"\n" + text)
    seven = eightbit.to_seven(data)
    assert seven.isascii()
    assert read(seven) == read(data)


@pytest.mark.parametrize("size", range(460, 500))
def test_a_line_does_not_become_too_long_for_the_wire(size: int) -> None:
    text = b"x" * (size % 7) + "\u00fc".encode() * size + b"=3D" * (size % 5) + b"y\nshort =\n\xc3\xbc\n"
    data = HEAD + b"Content-Transfer-Encoding: quoted-printable\n\n" + text
    seven = eightbit.to_seven(data)
    assert seven.isascii()
    assert max(map(len, seven.split(b"\n"))) <= 998
    assert read(seven) == read(data)


def test_what_is_in_no_encoding_that_we_know_goes_as_it_is() -> None:
    data = HEAD + b"Content-Transfer-Encoding: x-uuencode\n\nbegin 644 x\n\xfc\n"
    assert eightbit.to_seven(data) == data
