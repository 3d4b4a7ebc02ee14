"""SCRAM-SHA-256: the verifier, the messages, and the log-in by it in all three servers' manners."""

import base64
import contextlib
import hashlib
import hmac
import os
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lanmail import errors, passwords, sasl
from lanmail.logins import scram
from lanmail.settings import Account, Auth, Server, Settings

STORED = passwords.hash("geheim")
VERIFIER = scram.make("geheim", STORED)


class Client:
    """The client's side, written from RFC 5802 §3 on its own."""

    def __init__(self, user: str, password: str, gs2: bytes = b"n,,", iterations: int = 0) -> None:
        self.password, self.gs2 = password, gs2
        self.nonce = base64.b64encode(os.urandom(18))
        self.bare = b"n=" + user.replace("=", "=3D").replace(",", "=2C").encode() + b",r=" + self.nonce
        self.server = b""

    @property
    def first(self) -> bytes:
        return self.gs2 + self.bare

    def final(self, challenge: bytes, *, nonce: bytes = b"") -> bytes:
        fields = dict(part.split(b"=", 1) for part in challenge.split(b","))
        assert fields[b"r"].startswith(self.nonce)
        salt, iterations = base64.b64decode(fields[b"s"]), int(fields[b"i"])
        salted = hashlib.pbkdf2_hmac("sha256", self.password.encode(), salt, iterations)
        unproven = b"c=" + base64.b64encode(self.gs2) + b",r=" + (nonce or fields[b"r"])
        said = b",".join((self.bare, challenge, unproven))
        key = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(key).digest(), said, "sha256")
        server_key = hmac.digest(salted, b"Server Key", "sha256")
        self.server = b"v=" + base64.b64encode(hmac.digest(server_key, said, "sha256"))
        proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
        return unproven + b",p=" + base64.b64encode(proof)


def keys(_user: str) -> scram.Keys:
    found = scram.read(VERIFIER, STORED)
    assert found is not None
    return found


def test_the_example_of_rfc_7677() -> None:
    salt, iterations = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), 4096
    salted = hashlib.pbkdf2_hmac("sha256", b"pencil", salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    dialogue = scram.Dialogue(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
    dialogue._nonce = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    challenge = dialogue.challenge(scram.Keys(salt, iterations, stored, hmac.digest(salted, b"Server Key", "sha256")))
    assert challenge == b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    assert dialogue.finish(b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                           b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=") == \
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


def test_a_verifier_is_as_rfc_5803_has_it_and_belongs_to_one_hash() -> None:
    assert VERIFIER.startswith(f"SCRAM-SHA-256${scram.ITERATIONS}:")
    assert keys("").iterations >= 4096
    assert scram.read(VERIFIER, passwords.hash("geheim")) is None
    assert scram.read(VERIFIER, "") is None
    assert scram.read("SCRAM-SHA-256$4096:x$y:z", STORED) is None
    assert "SCRAM" not in repr(Account(name="meier", scram=VERIFIER))


@pytest.mark.parametrize(("given", "prepared"), [
    ("pencil", "pencil"), ("I\u00adX", "IX"), ("\u00aa", "a"), ("\u2168", "IX"), ("a\u00a0b", "a b"),
    ("Gru\u0308n", "Grün"),
])
def test_saslprep(given: str, prepared: str) -> None:
    """The examples of RFC 4013 §3, and umlauts typed on a Mac."""
    assert scram.saslprep(given) == prepared


@pytest.mark.parametrize("given", ["", "\u00ad", "a\x07", "\u0627\u0031", "\ufffd", "\u0221"])
def test_what_saslprep_does_not_permit(given: str) -> None:
    with pytest.raises(ValueError, match=r"^it "):
        scram.saslprep(given)


@pytest.mark.parametrize("gs2", [b"n,,", b"y,,", b"n,a=meier,"])
def test_a_good_exchange(gs2: bytes) -> None:
    client = Client("meier", "geheim", gs2)
    exchange = sasl.start("scram-sha-256", None, keys)
    assert exchange.challenge == b""
    exchange.respond(client.first)
    assert exchange.success is None
    found = exchange.respond(client.final(exchange.challenge or b""))
    assert found is not None
    assert found.proven
    assert (found.user, found.password) == ("meier", None)
    assert found.authzid == ("meier" if b"a=" in gs2 else "")
    assert exchange.success == client.server


def test_a_wrong_password_and_names_with_commas() -> None:
    client = Client("a,b=c", "falsch")
    exchange = sasl.start("SCRAM-SHA-256", client.first, keys)
    found = exchange.respond(client.final(exchange.challenge or b""))
    assert found is not None
    assert found.proven is False
    assert found.user == "a,b=c"
    assert exchange.success is None


@pytest.mark.parametrize("first", [
    b"", b"n", b"n,,", b"n,,n=,r=abcdefgh", b"n,,n=a,r=", b"n,,n=a,r=short", b"n,,n=a=b,r=abcdefgh",
    b"p=tls-unique,,n=a,r=abcdefgh", b"p=tls-server-end-point,,n=a,r=abcdefgh", b"n,,m=x,n=a,r=abcdefgh",
    b"n,b=x,n=a,r=abcdefgh", b"n,,n=\xff\xfe,r=abcdefgh", b"n,,n=a\0b,r=abcdefgh", b"n,,n=a,r=" + b"x" * 600,
    b"n,,n=" + b"a" * 600 + b",r=abcdefgh",
])
def test_bad_first_messages(first: bytes) -> None:
    with pytest.raises(sasl.BadResponse):
        sasl.start("SCRAM-SHA-256", first, keys)


def test_bad_final_messages() -> None:
    other = Client("meier", "geheim")
    stranger = sasl.start("SCRAM-SHA-256", other.first, keys)
    replayed = other.final(stranger.challenge or b"")
    for final in (b"", b"c=biws", replayed, b"*"):
        client = Client("meier", "geheim")
        exchange = sasl.start("SCRAM-SHA-256", client.first, keys)
        with pytest.raises(sasl.BadResponse):
            exchange.respond(final)
    client = Client("meier", "geheim", b"y,,")
    exchange = sasl.start("SCRAM-SHA-256", client.first, keys)
    client.gs2 = b"n,,"  # a downgrade on the way
    with pytest.raises(sasl.BadResponse):
        exchange.respond(client.final(exchange.challenge or b""))


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes(first: bytes, final: bytes) -> None:
    exchange = sasl.start("SCRAM-SHA-256", None, keys)
    for message in (b"n,,n=a,r=" + first, final):
        with contextlib.suppress(sasl.BadResponse):
            exchange.respond(message)
    assert exchange.success is None


def test_hostile_messages_take_linear_time() -> None:
    for piece in (b",a=", b"n=a,", b"=2C", b"r=x,"):
        began = time.process_time()
        with pytest.raises(sasl.BadResponse):
            sasl.start("SCRAM-SHA-256", b"n,,n=" + piece * (12_000 // len(piece)), keys)
        assert time.process_time() - began < 0.1


def test_without_keys_there_is_none() -> None:
    with pytest.raises(sasl.UnknownMechanism):
        sasl.start("SCRAM-SHA-256", b"n,,n=a,r=abcdefgh")
    assert sasl.mechanisms(secure=True, proofs=True)[0] == "SCRAM-SHA-256"
    assert sasl.mechanisms(secure=False, proofs=True) == []


# --- the check --------------------------------------------------------------------------------------------------------

class Accounts:
    """Stands for accounts.Directory: one with a verifier, one without."""

    def __init__(self) -> None:
        self.all = {"meier": Account(name="meier", password=STORED, scram=VERIFIER),
                    "weber": Account(name="weber", password=STORED),
                    "kurz": Account(name="kurz", password=STORED, scram=VERIFIER, disabled=True)}

    def folded_login(self, user: str) -> str:
        return user.casefold().removesuffix("@office.lan")

    def login_name(self, user: str) -> str | None:
        return self.folded_login(user) if self.folded_login(user) in self.all else None

    def account(self, name: str, *, fresh: bool = False) -> Account | None:
        return self.all.get(name)

    def somebody_proves(self) -> bool:
        return any(account.scram for account in self.all.values())


@pytest.fixture
def checker():
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    made = passwords.Checker(Accounts(), Settings(server=Server(domain="office.lan"), auth=Auth(scram=True)),
                             sleep=sleep, clock=lambda: 1000.0 + sum(slept))
    yield made
    made.close()


async def login(checker: passwords.Checker, user: str, password: str) -> Account:
    client = Client(user, password)
    exchange = sasl.start("SCRAM-SHA-256", client.first, checker.keys)
    credentials = exchange.respond(client.final(exchange.challenge or b""))
    assert credentials is not None
    return await checker.login(credentials, client="192.0.2.7", service="imap")


async def test_log_in_by_proof(checker: passwords.Checker) -> None:
    assert (await login(checker, "meier", "geheim")).name == "meier"
    assert (await login(checker, "Meier@office.lan", "geheim")).name == "meier"


@pytest.mark.parametrize("user", ["meier", "weber", "kurz", "nobody"])
async def test_refusals_have_the_same_words(checker: passwords.Checker, user: str) -> None:
    with pytest.raises(sasl.AuthFailed, match=r"^535 5\.7\.8 Authentication failed$"):
        await login(checker, user, "falsch" if user == "meier" else "geheim")


def test_nobody_can_ask_who_has_an_account(checker: passwords.Checker) -> None:
    for user in ("meier", "weber", "kurz", "nobody"):
        found = checker.keys(user)
        assert (len(found.salt), found.iterations) == (16, scram.ITERATIONS)
        for same in (user.upper(), f"{user}@office.lan", user):
            assert checker.keys(same).salt == found.salt
    assert checker.keys("nobody").salt != checker.keys("somebody").salt


async def test_guessing_by_proofs_gets_slow_too(checker: passwords.Checker) -> None:
    with pytest.raises(sasl.Throttled):  # noqa: PT012 — which of the guesses it is does not matter
        for _ in range(30):
            try:
                await login(checker, "meier", "falsch")
            except sasl.AuthFailed:
                continue
    with pytest.raises(sasl.Throttled):
        await checker.login(sasl.Credentials("meier", password="geheim"), client="192.0.2.7", service="imap")


async def test_a_proof_leaves_nothing_that_lets_a_password_in(checker: passwords.Checker) -> None:
    await login(checker, "meier", "geheim")
    with pytest.raises(sasl.AuthFailed):
        await checker.login(sasl.Credentials("meier", password=""), client="192.0.2.7", service="imap")


def test_errors_are_what_servers_expect() -> None:
    assert issubclass(sasl.BadResponse, errors.MailError)
