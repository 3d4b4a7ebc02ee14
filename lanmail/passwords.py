"""Passwords: hashing them, making them, and checking a log-in without helping those who guess.

Hashes are Argon2id (RFC 9106) with 19 MiB, 2 passes, 1 lane: about 30 ms, in one of two threads, so that guessing
costs at most two cores' worth of memory and never holds the event loop. Good log-ins are remembered for a while, as a
keyed digest under a key that only this process knows; the digest covers the stored hash, so a changed password
counts at once.

A password is text. Before hashing it is prepared as RFC 8265 §4.2 (OpaqueString) has it: NFC, and every kind of
space is a space; so "ü" typed on a Mac (two code points) and on a PC (one) is the same. SASLprep's NFKC (RFC 4013) was
looked at and is not used: it makes different passwords equal ("²" and "2"), and RFC 8265 replaced it.

Unknown user, wrong password and disabled account get the same words after the same work. Who guesses has to wait
(see `backoff`): shortly on the open connection, longer by being refused unseen. Nothing here logs, and no exception
holds a secret.
"""

import asyncio
import contextlib
import ctypes
import hmac
import logging
import os
import secrets
import time
import unicodedata
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import argon2
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from lanmail import atomic, errors, log, sasl
from lanmail.logins import backoff, grants, lastlogins, scram, tally
from lanmail.settings import Account, Settings

_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=argon2.Type.ID)
# No l, 1, o, 0: made passwords are read out on the telephone. 32 characters, 16 of them: 80 bits.
_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
_CACHED = 4096
_M_MMAP_THRESHOLD = -3  # mallopt(3); a fixed value also ends its growing with what was freed
# Longer than this nobody's connection is held; the client is told to come back instead.
_PATIENCE = 5.0
_CODES = "\0codes"  # no name that anybody can log in with


def prepare(password: str) -> bytes:
    """The bytes that are hashed (RFC 8265 §4.2.2)."""
    spaced = "".join(" " if unicodedata.category(letter) == "Zs" else letter for letter in password)
    return unicodedata.normalize("NFC", spaced).encode("utf-8", "surrogatepass")


def hash(password: str) -> str:
    """The Argon2id hash to keep; raises ValueError for an empty password."""
    if not password:
        raise ValueError("a password must not be empty")
    return _HASHER.hash(prepare(password))


def verify(stored: str, password: str) -> bool:
    """Whether `password` is the one; False for a hash that is none. Takes some 30 ms: never in the event loop.

    Raises errors.Temporary when there is no memory for it: the client must not be told that its password is wrong.
    """
    try:
        return _HASHER.verify(stored, prepare(password))
    except (VerifyMismatchError, InvalidHashError):
        return False
    except VerificationError:
        raise errors.Temporary("Passwords cannot be checked at the moment", 454, "4.7.0") from None


def generate() -> str:
    """A new password that can be read out: abcd-efgh-ijkm-npqr, 80 bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))


def _return_memory() -> None:
    """Let glibc give the 19 MiB of each check back at once; by itself it keeps them from the second check on."""
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def _shared_secret(state: Path) -> bytes:
    """Random octets that all programs know, made by the first; where that cannot be, some of our own."""
    path, made = state / "secret", secrets.token_bytes(32)
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            aside = state / f"secret.{os.getpid()}"
            atomic.write(aside, made, mode=0o600)
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
            aside.unlink()
        return atomic.read(path, 64) or made
    except OSError as error:
        log.event("no-shared-secret", level=logging.WARNING, error=str(error))
        return made


class Accounts(Protocol):
    """What of `accounts.Directory` is needed here."""

    def login_name(self, user: str) -> str | None: ...
    def folded_login(self, user: str) -> str: ...
    def somebody_proves(self) -> bool: ...
    def account(self, name: str, *, fresh: bool = False) -> Account | None: ...


class Checker:
    """All log-ins of one process: make one in each worker, after the fork."""

    def __init__(
        self,
        directory: Accounts,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        state: Path | None = None,
    ) -> None:
        """`state` is the directory for what the log-ins of all programs share; without it nothing is shared."""
        self._directory = directory
        self._state = state.parent if state else None  # state/grants is beside it
        self._logins = lastlogins.Book(state.parent) if state else None
        self._clock = clock
        self._sleep = sleep
        self._key = secrets.token_bytes(32)
        self._secret = _shared_secret(state) if state else self._key
        self._tally = tally.Tally(state / "counts" if state else None, self._secret)
        self._backoff = backoff.Backoff(clock=clock, shared=self._tally)
        self.configure(settings)
        self._good: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        # One check at a time from one address: guesses sent in parallel do not outrun the counting,
        # and many guesses from one place take one seat in the queue for the threads.
        self._lanes: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._tasks: set[asyncio.Task[str]] = set()
        self._threads = ThreadPoolExecutor(2, "argon2")
        _return_memory()
        self._dummy = hash(generate())

    def configure(self, settings: Settings) -> None:
        """New settings, after a reload; counts and cache stay."""
        auth = settings.auth
        self._scram = auth.scram
        self.offers_tokens = settings.httpd.enabled
        self._ttl = auth.cache_ttl
        self._backoff.free = auth.max_failures
        self._backoff.first = auth.delay
        self._backoff.longest = auth.max_delay
        self._backoff.forget = auth.forget_failures

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._tally.close()

    async def login(self, cred: sasl.Credentials, *, client: str, service: str) -> Account:
        """The account that may come in. `client` is its IP address, `service` one of smtp, pop3, imap.

        Raises sasl.AuthFailed, sasl.Throttled, and errors.Temporary when the account's file cannot be read.
        """
        account = await self._let_in(cred, client, service)
        if self._logins is not None and self._logins.due(account.name, service, client):
            with contextlib.suppress(RuntimeError):  # the threads have ended
                self._threads.submit(self._logins.note, account.name, service, client)
        return account

    async def _let_in(self, cred: sasl.Credentials, client: str, service: str) -> Account:
        name = self._directory.login_name(cred.user)
        user = name or cred.user.casefold()[:64]
        place = backoff.place(client)
        if cred.token is not None:
            return await self._by_token(cred, place, user, service)
        # fresh: a password that was changed a moment ago counts
        account = self._directory.account(name, fresh=True) if name else None
        attempt = _Attempt(place, user, account, cred.password or "", cred.proven)
        attempt.proof = self._proof(attempt)
        # Who hangs up before the answer is counted all the same: so a shielded task.
        checking = asyncio.create_task(self._refusal(attempt))
        self._tasks.add(checking)
        checking.add_done_callback(self._done)
        why = await asyncio.shield(checking)
        if not why:
            why = self._not_allowed(attempt.account, cred, service)
        if why or account is None:
            raise sasl.AuthFailed(why)
        return account

    def code_wait(self, client: str) -> float:
        """Seconds until a short code that people type may be looked at; guesses at them count as at passwords."""
        return self._backoff.wait(backoff.place(client), _CODES)

    def wrong_code(self, client: str) -> None:
        """It was none. A right one takes nothing back: who has one of his own could guess at others between."""
        self._backoff.failed(backoff.place(client), _CODES, b"")

    def mechanisms(self, *, secure: bool) -> list[str]:
        """What SASL has to offer here and now."""
        return sasl.mechanisms(secure=secure, oauth=self.offers_tokens, proofs=self.offers_scram)

    @property
    def offers_scram(self) -> bool:
        """Whether to announce SCRAM: the admin wants it, and somebody can use it."""
        return self._scram and self._directory.somebody_proves()

    def keys(self, user: str) -> scram.Keys:
        """What a SCRAM exchange with `user` is about; for who cannot use it (or is not there) something like it.

        Raises errors.Temporary when the account's file cannot be read.
        """
        name = self._directory.login_name(user)
        account = self._directory.account(name, fresh=True) if name else None
        found = None
        if account is not None and not account.disabled:
            found = scram.read(account.scram, account.password)
        return found or scram.decoy(self._secret, self._directory.folded_login(user))

    async def _refusal(self, attempt: "_Attempt") -> str:
        """Why the password is no good; "" when it is. Waits or raises Throttled as the counts demand."""
        await self._hold(attempt)
        if attempt.proven is not None:
            return await self._judge(attempt, good=attempt.proven)
        if self._backoff.known(attempt.place, attempt.user) and self._remembered(attempt):
            return self._count(attempt, good=True)
        if self._backoff.tried(attempt.place, attempt.user, attempt.proof):
            return "the same wrong password again"
        crowd = self._backoff.crowd(attempt.place, attempt.user)
        if crowd:
            await self._sleep(crowd)
        while True:
            await self._hold(attempt)
            async with self._lane(attempt.place):
                # While we waited for our turn another connection may have been let in, or have guessed wrong.
                # Never wait in here: that would hold up everybody else at that address.
                if self._remembered(attempt):
                    return self._count(attempt, good=True)
                if not self._backoff.wait(attempt.place, attempt.user):
                    return self._count(attempt, good=await self._verify(attempt))

    async def _judge(self, attempt: "_Attempt", *, good: bool) -> str:
        """The same for a proof, which costs nothing to check."""
        await self._sleep(self._backoff.crowd(attempt.place, attempt.user))
        await self._hold(attempt)
        return self._count(attempt, good=good and attempt.account is not None and not attempt.account.disabled)

    def _done(self, task: asyncio.Task[str]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # nobody may be left to ask for it

    async def _hold(self, attempt: "_Attempt") -> None:
        wait = self._backoff.wait(attempt.place, attempt.user)
        if wait > _PATIENCE:
            raise sasl.Throttled(wait)
        if wait:
            await self._sleep(wait)

    async def _verify(self, attempt: "_Attempt") -> bool:
        account = attempt.account
        stored = account.password if account is not None and not account.disabled else ""
        loop = asyncio.get_running_loop()
        good = await loop.run_in_executor(self._threads, verify, stored or self._dummy, attempt.password)
        return good and bool(stored)

    def _count(self, attempt: "_Attempt", *, good: bool) -> str:
        if good:
            self._backoff.succeeded(attempt.place, attempt.user)
            if attempt.proven is None:
                self._remember(attempt)
            return ""
        self._backoff.failed(attempt.place, attempt.user, attempt.proof)
        if attempt.account is None:
            return "unknown user"
        return "account disabled" if attempt.account.disabled else "wrong password"

    def _not_allowed(self, account: Account | None, cred: sasl.Credentials, service: str) -> str:
        """Why somebody with the right password or token stays outside all the same."""
        if account is None or account.disabled:
            return "account disabled"
        if service in grants.SCOPES and service not in account.services:  # pages are nobody's to refuse
            return f"account may not use {service}"
        # RFC 4616 §2: acting as somebody else is not on offer
        if cred.authzid and self._directory.login_name(cred.authzid) != account.name:
            return "may not act as another user"
        return ""

    async def _by_token(self, cred: sasl.Credentials, place: str, user: str, service: str) -> Account:
        attempt = _Attempt(place, user, None, "")
        await self._hold(attempt)
        account = self._owner(cred, service)
        if account is None:
            self._backoff.failed(place, user, self._digest(user, "token", (cred.token or "").encode()))
            raise sasl.AuthFailed("token not valid")
        why = self._not_allowed(account, cred, service)
        if why:
            raise sasl.AuthFailed(why)
        self._backoff.succeeded(place, user)
        return account

    def _owner(self, cred: sasl.Credentials, service: str) -> Account | None:
        """Whose token it is. It decides: a user that the client names beside it must be the same, or nobody."""
        if self._state is None or not self.offers_tokens:
            return None
        found = grants.standing(self._state, cred.token or "", service=service)
        if found is None or (cred.user and self._directory.login_name(cred.user) != found.account):
            return None
        cred.standing = found
        return self._directory.account(found.account)

    def _lane(self, place: str) -> asyncio.Lock:
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = asyncio.Lock()
        return lane

    def _proof(self, attempt: "_Attempt") -> bytes:
        stored = attempt.account.password if attempt.account is not None else ""
        return self._digest(attempt.user, stored, prepare(attempt.password))

    def _digest(self, user: str, kind: str, secret: bytes) -> bytes:
        parts = (user.encode("utf-8", "surrogatepass"), kind.encode(), secret)
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._key, framed, "sha256")

    def _remembered(self, attempt: "_Attempt") -> bool:
        entry = self._good.get(attempt.user)
        if entry is None or attempt.account is None:
            return False
        proof, expires = entry
        return self._clock() < expires and hmac.compare_digest(proof, attempt.proof)

    def _remember(self, attempt: "_Attempt") -> None:
        """Keep a fresh entry's end of life: a cached log-in does not prolong itself."""
        entry = self._good.get(attempt.user)
        if entry is not None and entry[0] == attempt.proof and self._clock() < entry[1]:
            self._good.move_to_end(attempt.user)
            return
        self._good[attempt.user] = (attempt.proof, self._clock() + self._ttl)
        self._good.move_to_end(attempt.user)
        if len(self._good) > _CACHED:
            self._good.popitem(last=False)


@dataclass(slots=True)
class _Attempt:
    place: str
    user: str
    account: Account | None
    password: str = field(repr=False)
    proven: bool | None = None
    proof: bytes = field(default=b"", repr=False)
