"""Hashing, and log-ins as friends and as guessers try them; the clock is ours."""

import asyncio
import statistics
import time

import pytest

from lanmail import errors, passwords, sasl
from lanmail.logins import lastlogins
from lanmail.settings import Account, Auth, Server, Settings

pytestmark = pytest.mark.usefixtures("dear_hashes")
GOOD = "grün und gut"


class Clock:
    """A clock that only moves when somebody waits."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


class Accounts:
    """Stands for accounts.Directory."""

    def __init__(self):
        self.all = {}
        self.broken = set()

    def add(self, name, password=GOOD, **more):
        self.all[name] = Account(name=name, password=f"hash of {password}", services=["smtp", "imap"], **more)

    def login_name(self, user):
        name = user.casefold().removesuffix("@office.lan")
        return name if name in self.all else None

    def folded_login(self, user):
        return user.casefold().removesuffix("@office.lan")

    def somebody_proves(self):
        return False

    def account(self, name, *, fresh=False):
        if name in self.broken:
            raise errors.Temporary("account file cannot be read")
        return self.all.get(name)


def settings(**auth):
    return Settings(server=Server(domain="office.lan"), auth=Auth(**{"max_failures": 3, **auth}))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def directory():
    accounts = Accounts()
    accounts.add("meier")
    accounts.add("schmidt")
    return accounts


@pytest.fixture
def verified(monkeypatch):
    """The passwords that were really looked at; argon2 itself has its own test."""
    seen = []

    def verify(stored, password):
        seen.append(password)
        return stored == f"hash of {password}"

    monkeypatch.setattr(passwords, "verify", verify)
    return seen


@pytest.fixture
def checker(directory, clock, verified):
    checker = passwords.Checker(directory, settings(), clock=clock, sleep=clock.sleep)
    yield checker
    checker.close()


async def login(checker, user="meier", password=GOOD, client="192.0.2.7", service="imap", **more):
    return await checker.login(sasl.Credentials(user, password=password, **more), client=client, service=service)


async def guess(checker, times, user="meier", client="192.0.2.66", start=0):
    """So many different wrong passwords, coming back whenever told to; answers how many were looked at."""
    looked = 0
    for number in range(start, start + times):
        try:
            await login(checker, user, f"wrong {number}", client)
        except sasl.AuthFailed:
            looked += 1
        except sasl.Throttled:
            pass
    return looked


def test_hash_is_argon2id_with_the_parameters_we_promise():
    stored = passwords.hash("geheim")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert passwords.verify(stored, "geheim")
    assert not passwords.verify(stored, "Geheim")
    assert stored != passwords.hash("geheim")


def test_composed_and_decomposed_umlauts_and_spaces_are_the_same_password():
    stored = passwords.hash("gr\u00fcn und gut")
    assert passwords.verify(stored, "gru\u0308n\u00a0und\u2003gut")


def test_compatibility_characters_are_different_passwords():
    assert passwords.prepare("x\u00b2") != passwords.prepare("x2")


@pytest.mark.parametrize("stored", ["", "geheim", "$1$abc$def"])
def test_no_hash_fits_no_password(stored):
    assert not passwords.verify(stored, "geheim")
    assert not passwords.verify(stored, "")


@pytest.mark.parametrize("stored", ["$argon2id$", "$argon2id$v=19$m=1,t=1,p=1$$"])
def test_a_broken_hash_is_a_temporary_error_and_not_a_wrong_password(stored):
    with pytest.raises(errors.Temporary):
        passwords.verify(stored, "geheim")


def test_an_empty_password_is_not_hashed():
    with pytest.raises(ValueError, match="empty"):
        passwords.hash("")


def test_generated_passwords_can_be_read_out_and_differ():
    made = {passwords.generate() for _ in range(100)}
    assert len(made) == 100
    assert all(len(word) == 19 and word.count("-") == 3 and not set(word) & set("l1o0 ") for word in made)


@pytest.mark.parametrize("user", ["meier", "Meier", "MEIER@office.lan"])
async def test_the_right_password(checker, user):
    assert (await login(checker, user)).name == "meier"


@pytest.mark.parametrize(
    ("user", "password"), [("meier", "falsch"), ("meier", ""), ("nobody", GOOD), ("", ""), ("../meier", GOOD)]
)
async def test_refusals_have_the_same_words(checker, user, password):
    with pytest.raises(sasl.AuthFailed) as caught:
        await login(checker, user, password)
    assert str(caught.value) == "535 5.7.8 Authentication failed"
    assert password not in caught.value.why or not password


async def test_disabled_accounts_stay_outside_even_with_the_right_password(checker, directory):
    directory.add("alt", disabled=True)
    with pytest.raises(sasl.AuthFailed) as caught:
        await login(checker, "alt")
    assert caught.value.why == "account disabled"


async def test_an_account_without_a_password_has_no_log_in(checker, directory):
    directory.all["meier"] = directory.all["meier"].model_copy(update={"password": ""})
    with pytest.raises(sasl.AuthFailed):
        await login(checker, password="")


async def test_a_service_that_the_account_may_not_use(checker):
    with pytest.raises(sasl.AuthFailed) as caught:
        await login(checker, service="pop3")
    assert "pop3" in caught.value.why


async def test_nobody_acts_as_somebody_else(checker):
    assert (await login(checker, authzid="Meier@office.lan")).name == "meier"
    with pytest.raises(sasl.AuthFailed):
        await login(checker, authzid="schmidt")
    with pytest.raises(sasl.AuthFailed):
        await login(checker, authzid="nobody")


async def test_tokens_are_refused_as_long_as_nobody_issues_any(checker):
    with pytest.raises(sasl.AuthFailed):
        await checker.login(
            sasl.Credentials("meier", token="abc", mechanism="XOAUTH2"), client="192.0.2.7", service="imap"
        )


async def test_a_broken_account_file_is_a_temporary_error_of_that_account_only(checker, directory):
    directory.broken.add("meier")
    with pytest.raises(errors.Temporary):
        await login(checker)
    assert (await login(checker, "schmidt")).name == "schmidt"


async def test_a_good_log_in_is_remembered_and_expires(checker, clock, verified):
    for _ in range(5):
        await login(checker)
    assert len(verified) == 1
    clock.now += 599
    await login(checker, client="192.0.2.8")
    assert len(verified) == 1
    clock.now += 2
    await login(checker)
    assert len(verified) == 2


async def test_a_changed_password_counts_at_once(checker, directory, verified):
    await login(checker)
    directory.add("meier", "neu")
    with pytest.raises(sasl.AuthFailed):
        await login(checker)
    assert (await login(checker, password="neu")).name == "meier"


async def test_a_password_refused_before_is_good_after_it_was_set(checker, directory):
    with pytest.raises(sasl.AuthFailed):
        await login(checker, password="neu")
    directory.add("meier", "neu")
    assert (await login(checker, password="neu")).name == "meier"


async def test_what_is_remembered_is_not_the_password(checker):
    await login(checker)
    remembered = repr(checker._good) + repr(checker._backoff.__dict__)
    assert GOOD not in remembered
    assert "hash of" not in remembered


async def test_many_connections_at_once_share_one_check(checker, verified):
    accounts = await asyncio.gather(*(login(checker) for _ in range(10)))
    assert {account.name for account in accounts} == {"meier"}
    assert len(verified) == 1


async def test_the_same_wrong_password_again_and_again_neither_counts_nor_costs(checker, verified):
    """A telephone with last year's password: its owner's PC behind the same router must not suffer."""
    for _ in range(50):
        with pytest.raises(sasl.AuthFailed):
            await login(checker, password="last year's")
    assert verified == ["last year's"]
    assert (await login(checker)).name == "meier"


async def test_guessing_gets_slow_and_is_then_refused_unseen(checker, clock):
    looked = await guess(checker, 1000)
    assert looked <= 6
    assert clock.slept == [2.0, 4.0]
    with pytest.raises(sasl.Throttled) as caught:
        await login(checker, password="wrong again", client="192.0.2.66")
    assert 0 < caught.value.wait <= 30


async def test_guesses_in_parallel_do_not_outrun_the_counting(checker, verified):
    await asyncio.gather(*(guess(checker, 1, start=number) for number in range(200)))
    assert len(verified) <= 6


async def test_hanging_up_before_the_answer_does_not_make_guesses_free(checker, verified):
    for number in range(100):
        attempt = asyncio.create_task(guess(checker, 1, start=number))
        await asyncio.sleep(0)
        attempt.cancel()
    await asyncio.gather(*checker._tasks, return_exceptions=True)
    assert len(verified) <= 6
    with pytest.raises(sasl.Throttled):
        await login(checker, client="192.0.2.66")


async def test_unknown_users_are_slowed_like_known_ones(checker):
    assert await guess(checker, 50, user="nobody") == await guess(checker, 50, client="192.0.2.67")


async def test_guessing_elsewhere_does_not_lock_the_user_out(checker, clock):
    await guess(checker, 1000)
    clock.slept.clear()
    assert (await login(checker)).name == "meier"
    assert clock.slept == []


async def test_guessing_behind_the_same_router_does_not_hold_up_who_was_let_in_before(checker, clock):
    await login(checker, "schmidt")
    for number in range(100):
        await guess(checker, 5, user=f"name{number}", client="192.0.2.7")
    clock.slept.clear()
    assert (await login(checker, "schmidt")).name == "schmidt"
    clock.now += 10_000
    await guess(checker, 50, user="nobody", client="192.0.2.7")
    clock.slept.clear()
    assert (await login(checker, "schmidt")).name == "schmidt"
    assert clock.slept == []


async def test_a_guesser_who_waits_holds_nobody_in_his_lane(checker, clock):
    """While one attempt from an address waits, another user's from there goes through."""
    await login(checker, "schmidt")
    clock.now += 601
    await guess(checker, 4, client="192.0.2.7")
    release = asyncio.Event()

    async def sleep(_seconds):
        await release.wait()
        clock.now += 60

    checker._sleep = sleep
    guessing = asyncio.create_task(guess(checker, 1, client="192.0.2.7", start=4))
    await asyncio.sleep(0)
    assert (await asyncio.wait_for(login(checker, "schmidt"), 20)).name == "schmidt"
    release.set()
    assert await guessing == 1


async def test_the_cache_is_no_oracle_for_guessers(checker, verified):
    """A remembered password must not be found faster than an unremembered one."""
    await login(checker)
    await guess(checker, 20)
    with pytest.raises(sasl.Throttled):
        await login(checker, client="192.0.2.66")
    assert (await login(checker)).name == "meier"


async def test_after_waiting_the_right_password_is_good_again(checker, clock):
    await guess(checker, 20, client="192.0.2.7")
    with pytest.raises(sasl.Throttled) as caught:
        await login(checker)
    clock.now += caught.value.wait
    assert (await login(checker)).name == "meier"


async def test_a_botnet_delays_only_new_addresses(checker, clock):
    await login(checker)
    for number in range(100):
        await guess(checker, 1, client=f"198.51.100.{number}", start=number)
    clock.slept.clear()
    await login(checker)
    assert clock.slept == []
    await login(checker, client="192.0.2.9")
    assert clock.slept
    assert max(clock.slept) <= 8


async def test_new_settings_count_at_once(checker, clock):
    checker.configure(settings(max_failures=1, delay=1.0, max_delay=1.0))
    await guess(checker, 2)
    assert clock.slept == [1.0]


async def test_no_memory_for_argon2_is_not_a_wrong_password(checker, monkeypatch):
    def verify(_stored, _password):
        raise errors.Temporary("Passwords cannot be checked at the moment", 454, "4.7.0")

    monkeypatch.setattr(passwords, "verify", verify)
    with pytest.raises(errors.Temporary):
        await login(checker)


async def test_the_cache_is_bounded(checker, directory, monkeypatch):
    monkeypatch.setattr(passwords, "_CACHED", 10)
    for number in range(30):
        directory.add(f"name{number}")
        await login(checker, f"name{number}")
    assert len(checker._good) == 10


async def test_unknown_user_and_wrong_password_take_the_same_time():
    directory = Accounts()
    directory.add("meier")
    directory.all["meier"] = directory.all["meier"].model_copy(update={"password": passwords.hash(GOOD)})
    checker = passwords.Checker(directory, settings(max_failures=100))
    took = {"meier": [], "nobody": []}
    for number in range(7):
        for user, times in took.items():
            before = time.process_time()
            with pytest.raises(sasl.AuthFailed):
                await login(checker, user, f"wrong {number}", client=f"192.0.2.{number}")
            times.append(time.process_time() - before)
    checker.close()
    known, unknown = (statistics.median(times) for times in took.values())
    assert unknown > 0.005, "the unknown user was not hashed for"
    assert 0.4 < known / unknown < 2.5


async def test_all_programs_count_together(directory, clock, verified, tmp_path):
    several = [passwords.Checker(directory, settings(), clock=clock, sleep=clock.sleep, state=tmp_path / "auth")
               for _ in range(3)]
    for number in range(3):
        with pytest.raises(sasl.AuthFailed):
            await login(several[number], password=f"wrong {number}", client="192.0.2.66")
    for one in several:
        assert one._backoff.wait("192.0.2.66", "meier") > 0
    assert several[0]._secret == several[1]._secret != several[0]._key
    assert (tmp_path / "auth/secret").stat().st_mode & 0o777 == 0o600
    assert {path.name for path in (tmp_path / "auth").iterdir()} == {"secret", "counts"}
    for one in several:
        one.close()


async def test_who_was_let_in_is_noted(clock, directory, verified, tmp_path):
    made = passwords.Checker(directory, settings(), clock=clock, sleep=clock.sleep, state=tmp_path / "auth")
    await made.login(sasl.Credentials("meier@office.lan", GOOD), client="192.0.2.7", service="imap")
    with pytest.raises(sasl.AuthFailed):
        await made.login(sasl.Credentials("schmidt", "wrong"), client="192.0.2.8", service="imap")
    made._threads.shutdown(wait=True)
    await made.login(sasl.Credentials("meier", GOOD), client="192.0.2.9", service="smtp")  # nobody stays outside
    made.close()
    assert [(one.service, one.client) for one in lastlogins.of(tmp_path, "meier")] == [("imap", "192.0.2.7")]
    assert lastlogins.of(tmp_path, "schmidt") == []
