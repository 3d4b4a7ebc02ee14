"""When fetchmail visits which source, with drivers that do as they are told."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from lanmail import accounts, config, log, sources
from lanmail.clients.smtplogin import Refused
from lanmail.errors import Temporary
from lanmail.sources import Later, Outcome, Visit, place, status
from lanmail.sources.desk import Desk
from lanmail.sources.job import House, Job
from tests import ports
from tests.fetchroot import Root
from tests.mailroot import until


class Driver:
    """Counts, and answers what the test says."""

    def __init__(self, office: "Office") -> None:
        self.office = office
        self.closed = False
        self.news = asyncio.Event()

    async def fetch(self, visit: Visit) -> Outcome:
        self.office.visits.append((visit.label, visit.force))
        self.office.underway += 1
        self.office.most = max(self.office.most, self.office.underway)
        try:
            await asyncio.sleep(self.office.takes)
            found = self.office.answer(visit)
            if isinstance(found, Exception):
                raise found
            return found
        finally:
            self.office.underway -= 1

    async def wait(self, _visit: Visit) -> None:
        self.office.waiting.append(self)
        await self.news.wait()
        self.news.clear()

    async def close(self) -> None:
        self.closed = True


class Office:
    """A desk, and what it did."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.visits: list[tuple[str, bool]] = []
        self.waiting: list[Driver] = []
        self.drivers: list[Driver] = []
        self.underway = self.most = 0
        self.takes = 0.0
        self.answer: Callable[[Visit], Outcome | Exception] = lambda _visit: Outcome()
        self.settings = config.load(root.paths)
        people = accounts.Directory(root.paths, lambda: self.settings)
        self.desk = Desk(House(root.paths, lambda: self.settings, root.queue, people, lambda _text: None), people)
        self.running: asyncio.Task[None] | None = None

    def make(self, _protocol: str) -> Driver:
        self.drivers.append(Driver(self))
        return self.drivers[-1]

    def source(self, name: str, account: str = "meier", **keys: object) -> None:
        self.root.source(name, account, **{"host": f"{name}.{account}.example", "user": name, "auth": "none",
                                           "jitter": 0, **keys})

    async def begin(self) -> None:
        self.desk.refresh()
        self.running = asyncio.create_task(self.desk.run())
        await self.quiet()

    async def quiet(self) -> None:
        """Until nothing is underway."""
        async with asyncio.timeout(30):
            await asyncio.sleep(0.02)
            while self.desk.tasks or self.desk.behind:
                await asyncio.sleep(0.01)

    def job(self, name: str = "a", account: str = "meier") -> Job:
        return self.desk.jobs[account, name]


@pytest.fixture
async def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    root = Root(tmp_path / "root")
    log.setup("fetchmail", root.paths.log)
    made = Office(root)
    monkeypatch.setattr(sources, "make", made.make)
    yield made
    if made.running is not None:
        made.running.cancel()
        await asyncio.gather(made.running, return_exceptions=True)
    await made.desk.close()


async def test_each_is_visited_and_then_rests(office: Office) -> None:
    office.source("a", every="300s")
    office.source("b", account="chef")
    await office.begin()
    assert sorted(office.visits) == [("chef/b", False), ("meier/a", False)]
    assert office.job().due - time.monotonic() == pytest.approx(300, abs=50)
    assert office.root.status("a").next == pytest.approx(time.time() + 300, abs=50)


async def test_what_is_switched_off_or_gone_is_not_visited(office: Office) -> None:
    office.source("a", interface="disabled")
    office.source("b")
    await office.begin()
    assert office.visits == [("meier/b", False)]
    office.source("b", interface="disabled")
    office.desk.refresh()
    await office.quiet()
    assert not office.desk.jobs
    assert office.drivers[0].closed


async def test_a_source_without_settings_is_told_what_is_missing(office: Office) -> None:
    office.source("a", host="", auth="password")
    await office.begin()
    assert office.visits == []
    assert office.root.status("a").error == "host is not set"


async def test_changed_settings_count_at_once_and_for_all_who_use_them(office: Office) -> None:
    office.source("a")
    office.source("b")
    await office.begin()
    office.root.configure('every = "1h"')
    office.settings = config.load(office.root.paths)
    office.desk.refresh()
    await office.quiet()
    assert len(office.visits) == 4
    assert all(one.closed for one in office.drivers[:2])
    assert office.job().settings.every == 3600


async def test_several_at_a_time_and_no_more(office: Office) -> None:
    office.root.configure("parallel = 3")
    office.settings = config.load(office.root.paths)
    office.takes = 0.02
    for number in range(9):
        office.source(f"s{number}")
    await office.begin()
    await office.quiet()
    assert len(office.visits) == 9
    assert office.most == 3


async def test_a_mailbox_is_visited_by_one_at_a_time(office: Office) -> None:
    office.takes = 0.05
    office.source("a", host="same.example", user="u")
    office.source("b", account="chef", host="same.example", user="u")
    await office.begin()
    await office.quiet()
    assert len(office.visits) == 2
    assert office.most == 1


async def test_who_has_more_comes_to_the_end_of_the_line(office: Office) -> None:
    office.root.configure("parallel = 1")
    office.settings = config.load(office.root.paths)
    left = {"meier/a": 2}

    def answer(visit: Visit) -> Outcome:
        left[visit.label] = left.get(visit.label, 0) - 1
        return Outcome(fetched=1, waiting=max(0, left[visit.label]))

    office.answer = answer
    office.takes = 0.01
    office.source("a")
    office.source("b")
    office.source("c")
    await office.begin()
    await office.quiet()
    assert [label for label, _ in office.visits] == ["meier/a", "meier/b", "meier/c", "meier/a"]


async def test_pauses_grow_after_failures_and_one_source_disturbs_no_other(office: Office) -> None:
    office.answer = lambda visit: Outcome() if visit.name == "b" else Temporary("no answer")
    office.source("a", every="10s")
    office.source("b", every="10s")
    pauses = []
    await office.begin()
    for _ in range(6):
        pauses.append(round(office.job().due - time.monotonic(), -1))
        office.job().due = 0
        office.desk.news.set()
        await office.quiet()
    assert pauses == [60, 300, 600, 1800, 3600, 3600]
    assert office.root.status("b").error == ""
    assert office.root.status("a").failures == 7
    assert len(office.root.notices()) == 1


async def test_an_internal_error_counts_as_a_failure(office: Office) -> None:
    office.answer = lambda _visit: ZeroDivisionError()
    office.source("a")
    await office.begin()
    assert office.root.status("a").error == "internal error: ZeroDivisionError"
    assert office.job().due > time.monotonic() + 60


async def test_refused_log_ins_stop_until_somebody_asks(office: Office) -> None:
    office.root.configure("max_refused = 2")
    office.settings = config.load(office.root.paths)
    office.answer = lambda _visit: Refused("no")
    office.source("a")
    await office.begin()
    office.job().due = 0
    office.desk.news.set()
    await office.quiet()
    assert office.job().status.stopped
    office.job().due = 0
    office.desk.news.set()
    await office.quiet()
    assert len(office.visits) == 2
    office.answer = lambda _visit: Outcome()
    place.request(office.root.paths, "meier", "a")
    office.desk.take_requests()
    await office.quiet()
    assert office.visits[-1] == ("meier/a", True)
    assert not office.job().status.stopped
    assert len(office.root.notices()) == 2  # cannot be fetched, is fetched again


async def test_login_delay_is_honoured_even_when_somebody_asks(office: Office) -> None:
    office.answer = lambda _visit: Outcome(pause=900, waiting=5)
    office.source("a", every="10s")
    await office.begin()
    assert office.job().due - time.monotonic() == pytest.approx(900, abs=50)
    place.request(office.root.paths, "meier", "a")
    office.desk.take_requests()
    await office.quiet()
    assert len(office.visits) == 1


async def test_later_is_no_failure(office: Office) -> None:
    office.answer = lambda _visit: Later("in use", 120)
    office.source("a")
    await office.begin()
    assert office.job().due - time.monotonic() == pytest.approx(120, abs=50)
    assert office.root.status("a").failures == 0
    assert office.root.notices() == []


async def test_outside_its_window_only_who_asks_is_served(office: Office) -> None:
    local = time.localtime(time.time() + 7200)
    office.source("a", window=[f"{local.tm_hour:02}:00-{local.tm_hour:02}:01"])
    await office.begin()
    assert office.visits == []
    place.request(office.root.paths, "meier", "*")
    office.desk.take_requests()
    await office.quiet()
    assert office.visits == [("meier/a", True)]


async def test_nothing_is_fetched_without_the_internet(office: Office) -> None:
    port = ports.free()
    office.root.configure(f'online_check = "127.0.0.1:{port}"')
    office.settings = config.load(office.root.paths)
    office.source("a")
    await office.begin()
    assert office.visits == []
    assert "online_check" in office.job().status.error
    assert office.root.notices() == []
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", port)
    office.desk._checked -= 60
    office.job().due = 0
    office.desk.news.set()
    await until(lambda: office.visits)
    await office.quiet()
    assert office.visits == [("meier/a", False)]
    server.close()
    await asyncio.sleep(0.01)


async def test_a_full_mailbox_or_disk_fetches_nothing(office: Office) -> None:
    office.root.paths.full.mkdir(parents=True)
    (office.root.paths.full / "meier").touch()
    office.source("a")
    office.source("b", account="chef")
    await office.begin()
    assert office.visits == [("chef/b", False)]
    assert "full" in office.root.status("a").error
    assert not office.root.status("a").failures


async def test_push_fetches_when_there_is_news(office: Office) -> None:
    office.source("a", push=True, every="1h")
    await office.begin()
    driver, = office.waiting
    driver.news.set()
    await until(lambda: len(office.visits) == 2)
    await office.quiet()
    assert len(office.visits) == 2
    office.job().ask()
    office.desk.news.set()
    await until(lambda: len(office.visits) == 3)
    await office.quiet()
    assert len(office.visits) == 3
    assert len(office.drivers) == 1


async def test_a_new_start_goes_on_where_the_last_one_was(office: Office) -> None:
    office.source("a", every="300s")
    await office.begin()
    again = Job(office.desk.house, "meier", "a", office.job().settings)
    assert again.due - time.monotonic() == pytest.approx(300, abs=50)
    for shift in (-86400, 86400):  # the clock was wrong, then or now
        again.status.tried += shift
        again.status.next += shift
        status.save(office.root.paths, "meier", "a", again.status)
        assert Job(office.desk.house, "meier", "a", office.job().settings).due - time.monotonic() <= 310


async def test_no_sources_cost_nothing(office: Office) -> None:
    await office.begin()
    before = time.process_time()
    await asyncio.sleep(0.5)
    assert time.process_time() - before < 0.2
    assert not os.path.exists(office.root.paths.state / "fetched" / "meier")
