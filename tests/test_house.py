"""The rules of the house that a reader would otherwise have to know: who imports whom, what stands where."""

import ast
import graphlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from docs import build
from lanmail import admin, programs

HERE = Path(__file__).resolve().parent.parent
CODE = sorted((HERE / "lanmail").rglob("*.py"))
PYTHON = sorted(path for folder in ("lanmail", "tests", "bench", "docs") for path in (HERE / folder).rglob("*.py"))
PROGRAMS = {program.name for program in programs.ALL} | {"admin"}
# A package → the program it belongs to.
OWNER = {"smtp": "smtpd", "imap": "imapd", "pop3": "pop3d", "delivery": "deliver", "cli": "admin",
         "relaying": "relay", "web": "httpd"}
# The bottom: a module → all of ours that it may import.
LOWEST: dict[str, set[str]] = {
    "errors": set(), "atomic": {"errors"}, "wire": {"errors"}, "address": {"errors"}, "envelope": {"errors", "address"},
}
FORBIDDEN = {"utils", "util", "common", "core", "helpers", "helper", "base", "misc", "tools"}
LONG = 500
LONG_WITH_REASON: dict[str, str] = {}


def tracked() -> list[Path]:
    """What belongs to the project: git's list, or everything of a tree that came without git."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=HERE, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [HERE / name for name in listed.stdout.decode().split("\0") if name and (HERE / name).is_file()]


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(HERE)) for path in paths]


def imported(path: Path, types: bool = True) -> Iterator[str]:
    """The modules of ours that a file imports, as `spool` or `imap.wire`; those only for their types if wished."""
    tree = ast.parse(path.read_bytes())
    for node in tree.body if not types else ():
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("lanmail."):
                    yield alias.name.removeprefix("lanmail.")
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "lanmail":
            inner = node.module.removeprefix("lanmail").lstrip(".")
            for alias in node.names:
                whole = f"{inner}.{alias.name}".lstrip(".")
                is_module = (HERE / "lanmail" / f"{whole.replace('.', '/')}.py").exists() or (
                    HERE / "lanmail" / whole.replace(".", "/")).is_dir()
                if whole and (is_module or inner):
                    yield whole if is_module else inner


def complaint(importer: str, target: str) -> str | None:
    """Why `importer` may not import `target`; both as `smtpd` or `smtp.session`."""
    mine, theirs = importer.split(".")[0], target.split(".")[0]
    if theirs == mine or target == "__init__":
        return None
    if importer in LOWEST and theirs not in LOWEST[importer]:
        return "is at the bottom and imports nothing of ours but " + (", ".join(sorted(LOWEST[importer])) or "nothing")
    if theirs in PROGRAMS:
        return "imports a program: programs meet in spools"
    if theirs in OWNER and mine != OWNER[theirs]:
        return f"imports a package that belongs to {OWNER[theirs]}"
    return None


@pytest.mark.parametrize("path", CODE, ids=names(CODE))
def test_imports_go_one_way(path: Path) -> None:
    importer = ".".join(path.relative_to(HERE / "lanmail").with_suffix("").parts)
    bad = [f"{importer} → {target}: {why}" for target in imported(path) if (why := complaint(importer, target))]
    assert not bad


def test_no_module_needs_itself() -> None:
    """Nothing is imported in a circle; two that only name each other's types say so by TYPE_CHECKING."""
    needs = {".".join(path.relative_to(HERE / "lanmail").with_suffix("").parts).removesuffix(".__init__"):
             set(imported(path, types=False)) for path in CODE}
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" → ".join(reversed(error.args[1])))


def test_import_rule_bites() -> None:
    for bad in ("smtpd deliver", "pop3d imap.wire", "spool smtpd", "address log", "maildir cli.up", "imap.fetch imapd"):
        assert complaint(*bad.split()), bad
    for good in ("smtpd smtp.session", "imap.fetch maildir", "admin cli.up", "spool atomic", "imapd imap.wire"):
        assert complaint(*good.split()) is None, good


def test_runners_are_the_console_scripts() -> None:
    scripts = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]["scripts"]
    expected = {f"lanmail-{program.name}": f"lanmail.{program.name}:main" for program in programs.ALL}
    assert scripts == expected | {"lanmail": "lanmail.admin:main"}
    assert {path.name for path in (HERE / "bin").iterdir()} == set(scripts)
    assert all(path.stat().st_mode & 0o111 for path in (HERE / "bin").iterdir())


@pytest.mark.parametrize("path", PYTHON, ids=names(PYTHON))
def test_file_opens_with_a_docstring_and_stays_short(path: Path) -> None:
    name = str(path.relative_to(HERE))
    assert ast.get_docstring(ast.parse(path.read_bytes())) or (path.name == "__init__.py" and not path.stat().st_size)
    if name not in LONG_WITH_REASON:
        assert len(path.read_text().splitlines()) <= LONG, "split it by noun, or give a reason in LONG_WITH_REASON"


def test_module_names() -> None:
    for path in CODE:
        top = path.relative_to(HERE / "lanmail").parts[0].removesuffix(".py")
        assert path.stem not in FORBIDDEN, path
        hidden = sys.stdlib_module_names - {"smtpd"}  # that one went with Python 3.12
        assert top.startswith("__") or top not in hidden, f"{path} hides one of the standard library"


@pytest.mark.parametrize("path", PYTHON, ids=names(PYTHON))
def test_exceptions_from_lint_and_types_name_their_rule(path: Path) -> None:
    with tokenize.open(path) as source:
        for token in tokenize.generate_tokens(source.readline):
            if token.type == tokenize.COMMENT:
                assert not re.search(r"type:\s*ignore(?!\[)|noqa(?!: *[A-Z]+\d)", token.string), token


def test_no_log_call_is_given_a_secret() -> None:
    """The logs of a whole run are searched for secrets in tests/e2e; this finds the call before it runs."""
    secret = re.compile(r"passw|secret|token|credential|authorization", re.I)
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_bytes())):
            if (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
                    and isinstance(node.func.value, ast.Name) and node.func.value.id == "log"):
                given = [*(keyword.value for keyword in node.keywords), *node.args]
                words = [inner.id if isinstance(inner, ast.Name) else inner.attr
                         for value in given for inner in ast.walk(value) if isinstance(inner, ast.Name | ast.Attribute)]
                assert not any(secret.search(word) for word in words), f"{path}:{node.lineno}"


def test_nothing_of_a_developers_machine() -> None:
    """Paths and index hosts of whoever made a change do not belong into it."""
    private = re.compile(rb"/(?:work|root)/|/home/(?!lanmail)\w+/|--index-url|--find-links")
    allowed = {"tests/test_house.py", "Makefile"}
    for path in tracked():
        if str(path.relative_to(HERE)) not in allowed:
            found = private.search(path.read_bytes())
            assert found is None, f"{path}: {found}"


def test_locks_are_pinned_with_hashes() -> None:
    for path in HERE.glob("requirements*.lock"):
        pins = re.split(r"\n(?=\S)", path.read_text().strip())
        assert pins
        for pin in pins:
            assert re.match(r"[a-z0-9._-]+==\S+", pin), pin
            assert "--hash=sha256:" in pin, pin


RFC = re.compile(r"\bRFCs?[  ](\d{3,5})\b")


def test_every_rfc_in_the_code_is_in_the_table() -> None:
    table = set(re.findall(r"^\| (\d+) \|", (HERE / "docs/rfcs.md").read_text(), re.M))
    named: dict[str, str] = {}
    for path in CODE:
        for number in RFC.findall(path.read_text()):
            named.setdefault(number, str(path.relative_to(HERE)))
    missing = {number: where for number, where in named.items() if number not in table}
    assert not missing, "add them to docs/rfcs.md, with how much of each is done"


def test_table_of_rfcs_says_where_and_what_is_missing() -> None:
    """Whatever is done, in part or whole, is done in a module that exists; a part says what it leaves out."""
    lines = [line for line in (HERE / "docs/rfcs.md").read_text().splitlines() if re.match(r"\| \d", line)]
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == 5, f"five columns: {line}"
        _number, _about, done, where, note = cells
        assert done in ("yes", "part", "no"), line
        modules = re.findall(r"`([^`]+)`", where)
        assert modules or done == "no", f"in which module? {line}"
        assert note or done != "part", f"what is missing? {line}"
        for module in modules:
            path = HERE / "lanmail" / (module if module.endswith("/") else f"{module}.py")
            assert path.exists(), f"{path.relative_to(HERE)}: {line}"
    numbers = [int(line.split("|")[1]) for line in lines]
    assert numbers == sorted(set(numbers)), "one row each, ascending"


def test_links_in_documents_lead_somewhere() -> None:
    for path in [*HERE.glob("*.md"), *(HERE / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.relative_to(HERE)}: {target}"


def typed_in_documents() -> Iterator[tuple[str, list[str]]]:
    """Every `lanmail …` that a document tells people to type: (document, words)."""
    for path in [*HERE.glob("*.md"), *(HERE / "docs").glob("*.md"), *(HERE / "docs/howto").glob("*.md")]:
        text = path.read_text()
        blocks = "\n".join(re.findall(r"^ *```\n(.*?)^ *```", text, re.M | re.S))
        lines = re.findall(r"^ *(?:bin/)?lanmail (.*)$", blocks, re.M) + re.findall(r"`(?:bin/)?lanmail ([^`]*)`", text)
        for line in lines:
            yield path.name, shlex.split(line.replace("…", ""), comments=True)


def test_documents_type_what_exists() -> None:
    found = list(typed_in_documents())
    assert len(found) > 10
    for document, words in found:
        command: click.Command = admin.cli
        while words and isinstance(command, click.Group):
            inner = command.get_command(click.Context(command), words[0])
            assert inner, f"{document}: lanmail {' '.join(words)}"
            command = inner
            words.pop(0)
        if words:
            with command.make_context(command.name, words, resilient_parsing=False):
                pass    # a wrong option or argument has raised


@pytest.mark.slow
def test_made_documents_are_current() -> None:
    """`make docs` has nothing to do: manual pages, sample settings and schemas say what the code says."""
    # in a process of its own: other tests may have touched the commands' modules or the environment
    code = "from docs import build; print(build.behind())"
    clean = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "LANMAIL_ROOT")}
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE, env=clean, capture_output=True, text=True,
                          check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("lowdown") is None, reason="not installed: lowdown")
def test_manual_pages_for_man(tmp_path: Path) -> None:
    build.roff(tmp_path)
    made = {path.name: path.read_text() for path in tmp_path.rglob("*.?")}
    assert set(made) == {"lanmail.1", "lanmail.toml.5", "lanmail-api.7",
                         *(f"lanmail-{program.name}.1" for program in programs.TOOLS),
                         *(f"lanmail-{program.name}.8" for program in programs.DAEMONS)}
    assert all(f'.TH "{Path(name).stem}"' in text and ".SH\nDescription" in text for name, text in made.items()
               if name != "lanmail.1"), made


def test_python_that_we_start_takes_no_modules_from_the_working_directory() -> None:
    """`-m` and `-c` put it first: whoever may drop a file where an administrator works would run code as him."""
    lines = [line.strip() for path in sorted((HERE / "lanmail").rglob("*.py")) for line in path.read_text().splitlines()
             if "sys.executable" in line]
    assert len(lines) >= 4
    assert not [line for line in lines if 'sys.executable, "-P", ' not in line]
