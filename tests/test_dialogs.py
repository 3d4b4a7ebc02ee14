"""Plays the golden dialogs in tests/dialogs against the real programs; how they are written stands there."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lanmail import programs
from tests import dialogs

ALL = [(protocol, path) for protocol in dialogs.PROTOCOLS for path in dialogs.files(protocol)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], dialogs.Site]]:
    """One site for each protocol, its program started when the first dialog wants it."""
    running: dict[str, dialogs.Site] = {}

    def start(name: str) -> dialogs.Site:
        if name not in running:
            protocol = dialogs.PROTOCOLS[name]
            running[name] = dialogs.Site(tmp_path_factory.mktemp(name) / "root", protocol.settings)
            running[name].start(protocol.program, *(setting for setting, _ in protocol.ports.values()))
        return running[name]

    yield start
    for one in running.values():
        one.stop()
        assert "internal-error" not in one.log()


@pytest.mark.parametrize(("protocol", "path"), ALL, ids=[f"{path.parent.name}/{path.stem}" for _, path in ALL])
def test_dialog(protocol: str, path: Path, site: Callable[[str], dialogs.Site]) -> None:
    dialogs.play(path, site(protocol), dialogs.PROTOCOLS[protocol])


def test_every_protocol_names_a_program() -> None:
    assert {protocol.program for protocol in dialogs.PROTOCOLS.values()} <= {one.name for one in programs.DAEMONS}


def test_a_wrong_answer_is_told_with_its_place(tmp_path: Path, site: Callable[[str], dialogs.Site]) -> None:
    bad = tmp_path / "00-bad.txt"
    bad.write_text("# nothing\nS: +OK <<.*>>\nC: NOOP\nS: +OK\n")
    with pytest.raises(AssertionError, match=r"00-bad\.txt:4: S: \+OK\n  server: -ERR"):
        dialogs.play(bad, site("pop3"), dialogs.PROTOCOLS["pop3"])
