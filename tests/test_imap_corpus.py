"""ENVELOPE, BODYSTRUCTURE, BODY and RFC822.SIZE as Dovecot 2.3 gives them.

For the odd messages in `golden/structures.json` (add some: Dovecot's answers, octets as Latin-1), and for a corpus of
other projects' test mails where one lies beside the checkout.
"""

import functools
import json
from pathlib import Path
from typing import Any

import pytest

from lanmail.mime import structure

CORPUS = Path(__file__).parents[2] / "shared" / "corpus" / "mail-dev"
GOLDEN = Path(__file__).with_name("golden") / "structures.json"


def ours(message: bytes) -> dict[str, Any]:
    summary = structure.summary(message)
    return {
        "envelope": summary.envelope.decode("latin-1"),
        "bodystructure": summary.bodystructure.decode("latin-1"),
        "body": summary.body.decode("latin-1"),
        "size": summary.wire_size,
    }


@functools.cache
def golden() -> dict[str, dict[str, Any]]:
    return json.loads(GOLDEN.read_text())


@pytest.mark.parametrize("name", golden())
def test_odd_messages(name: str) -> None:
    expected = dict(golden()[name])
    message = expected.pop("message").encode("latin-1")
    assert ours(message) == expected


@pytest.mark.skipif(not CORPUS.is_dir(), reason="no corpus of test mails in ../shared/corpus/mail-dev")
def test_corpus() -> None:
    index = json.loads((CORPUS / "index.json").read_text())
    different = []
    for name, entry in index.items():
        summary = structure.summary((CORPUS / "messages" / name).read_bytes())
        expected = entry["dovecot"]
        if (
            not _same(summary.envelope, expected["envelope"])
            or not _same(summary.bodystructure, expected["bodystructure"])
            or summary.wire_size != expected["rfc822_size"]
        ):
            different.append(name)
    assert not different
    assert len(index) > 200


def _same(answer: bytes, expected: str) -> bool:
    """The index has the answers without their outer parentheses, and octets that are no UTF-8 as U+FFFD."""
    return answer[1:-1].decode("utf-8", "replace") == expected
