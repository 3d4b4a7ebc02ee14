"""resolver.py, against a DNS server of our own."""

import pytest

from lanmail.clients import resolver
from lanmail.errors import Temporary
from tests.dnsstub import Stub


async def test_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "LIFETIME", 0.3)
    records: dict = {
        ("far.example", "MX"): ["20 b.far.example.", "10 A.far.example."], ("null.example", "MX"): ["0 ."],
        ("two.example", "A"): ["192.0.2.1", "192.0.2.2"], ("two.example", "AAAA"): ["2001:db8::1"],
        ("text.example", "TXT"): ['"v=x; " "id=1"', '"other"'], ("xn--mller-kva.example", "MX"): ["1 a.far.example."],
        ("half.example", "A"): "SERVFAIL", ("quiet.example", "MX"): "silence",
    }
    async with Stub(records) as stub:
        asked = resolver.Resolver(lambda: stub.address)
        assert await asked.mx("far.example") == [(10, "a.far.example"), (20, "b.far.example")]
        assert await asked.mx("null.example") == [(0, "")]
        assert await asked.mx("two.example") == []
        assert await asked.mx("müller.example") == [(1, "a.far.example")]
        first, *others = await asked.addresses("two.example")
        assert (first, sorted(others)) == ("2001:db8::1", ["192.0.2.1", "192.0.2.2"])
        assert sorted(await asked.txt("text.example")) == ["other", "v=x; id=1"]
        assert await asked.txt("none.example") == []
        for name in ("none.example", "a" * 64 + ".example", "a..example"):
            with pytest.raises(resolver.NoSuchDomain):
                await asked.mx(name)
        with pytest.raises(resolver.NoSuchDomain, match="has no address"):
            await asked.addresses("text.example")
        with pytest.raises(Temporary, match=r"half\.example"):
            await asked.addresses("half.example")
        with pytest.raises(Temporary, match="no answer"):
            await asked.mx("quiet.example")
        count = len(stub.asked)
        await asked.mx("far.example")
        assert len(stub.asked) == count
