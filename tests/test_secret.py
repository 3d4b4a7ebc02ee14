"""secret.py: references in conf, and texts that do not show themselves."""

from pathlib import Path

import pytest

from lanmail import secret
from lanmail.errors import Temporary
from lanmail.outgoing import Outgoing


def test_reads_the_file_without_its_line_end(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/gmx").write_text("päss wörd\n")
    found = secret.read("file:secrets/gmx", tmp_path)
    assert found.reveal() == "päss wörd"
    assert "päss" not in f"{found} {found!r} {[found]}"


def test_reads_what_systemd_handed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(Temporary, match="no credentials"):
        secret.read("credential:gmx", tmp_path)
    (tmp_path / "gmx").write_text("x")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert secret.read("credential:gmx", Path("/nowhere")) == secret.Secret("x")


def test_missing_is_temporary(tmp_path: Path) -> None:
    with pytest.raises(Temporary, match="file:secrets/no cannot be read"):
        secret.read("file:secrets/no", tmp_path)


def test_a_password_in_conf_is_refused_without_being_repeated() -> None:
    with pytest.raises(ValueError, match="must say where the secret lies") as caught:
        Outgoing.model_validate({"password": "hunter2"})
    assert "hunter2" not in str(caught.value.errors()[0]["msg"])
