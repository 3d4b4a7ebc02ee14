"""Make docs/man, the sample settings and the JSON Schemas from docstrings, command lines and settings.py.

`python -m docs.build` writes them, `--check` only says which are behind, `--man DIR` makes roff pages with lowdown.
A program's docstring is its page: the first line is its name and what it does, and a paragraph that opens with one of
SECTIONS and a colon begins a section.
"""

import importlib
import inspect
import json
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import lanmail
from lanmail import config, groups, incoming, programs, schema, settings

HERE = Path(__file__).resolve().parent.parent
MAN = HERE / "docs/man"
SECTIONS = ("Reads", "Writes", "Signals", "Exit status", "Standards", "Security", "Bugs", "See also")
GENERATED = "<!-- made by `make docs` from the code: change it there -->"


def sections_of(doc: str) -> dict[str, str]:
    """A program's page: "Name", "Description" and what SECTIONS has of it → Markdown."""
    name, _, rest = inspect.cleandoc(doc).partition("\n")
    found = {"Name": name.partition(": ")[2].rstrip(".")}
    heading = "Description"
    for block in re.split(rf"\n\s*\n|\n(?=(?:{'|'.join(SECTIONS)}): )", rest.strip("\n")):
        head = re.match(rf"({'|'.join(SECTIONS)}):\s+", block)
        if head:
            heading, block = head[1], block[head.end():]
            block = block[:1].upper() + block[1:] if re.match(r"[a-z]+ ", block) else block
        found[heading] = "\n\n".join([*filter(None, [found.get(heading)]), _block(block)])
    return found


def _block(text: str) -> str:
    """A paragraph. A table or an example, which is indented or in columns, stays as it is."""
    lines = text.rstrip().split("\n")
    columns = len(lines) > 1 and all(re.search(r"\S {3,}\S", line) for line in lines)
    if columns or all(line.startswith(" ") for line in lines):
        return "```\n" + textwrap.dedent("\n".join(lines)) + "\n```"
    return "\n".join(lines).replace("<", "\\<")


def options_of(command: click.Command, context: click.Context) -> list[str]:
    lines = []
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record and record[1] and parameter.name != "help":
            words = re.sub(r"\.?  +\[", " [", record[1].rstrip("."))
            lines.append(f"- `{record[0]}`: {_cell(words)}.")
    return lines


def page(title: str, section: int, name: str, body: str) -> str:
    return f"{GENERATED}\n\n# {title}({section})\n\n## Name\n\n{title}: {name}\n\n{body.rstrip()}\n"


def program_page(program: programs.Program) -> str:
    """lanmail-NAME: the docstring, and the options after the description."""
    command: click.Command = importlib.import_module(f"lanmail.{program.name}").main
    title = f"lanmail-{program.name}"
    context = click.Context(command, info_name=title)
    sections = sections_of(command.help or "")
    usage = f"## Usage\n\n`{' '.join([title, *command.collect_usage_pieces(context)])}`"
    options = "## Options\n\n" + "\n".join(options_of(command, context))
    name = sections.pop("Name")
    described, *others = [f"## {heading}\n\n{text}" for heading, text in sections.items()]
    section = 8 if program in programs.DAEMONS else 1
    return page(title, section, name, "\n\n".join([usage, described, options, *others]))


def commands(group: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command, click.Context]]:
    """All commands below `group`, each with its whole name."""
    if isinstance(group, click.Group):
        for name in group.list_commands(context):
            inner = group.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from commands(inner, click.Context(inner, info_name=name, parent=context))
    else:
        yield context.command_path, group, context


def admin_page() -> str:
    """lanmail: every subcommand with its arguments, text and options."""
    main: click.Group = importlib.import_module("lanmail.admin").cli
    top = click.Context(main, info_name="lanmail")
    doc = importlib.import_module("lanmail.admin").__doc__ or ""
    name = doc.partition("\n")[0].removeprefix("lanmail: ").rstrip(".")
    parts = ["## Usage\n\n`lanmail COMMAND …`", "## Commands"]
    for path, command, context in commands(main, top):
        usage = " ".join([path, *command.collect_usage_pieces(context)])
        text = inspect.cleandoc((command.help or "").replace("\b\n", ""))
        options = "\n".join(options_of(command, context))
        parts.append(f"### {path.removeprefix('lanmail ')}\n\n`{usage}`\n\n{text}\n\n{options}")
    return page("lanmail", 1, name, "\n\n".join(part.strip() for part in parts if part))


def api_page() -> str:
    """lanmail-api: every method of the HTTP API with its parameters."""
    importlib.import_module("lanmail.web.app")  # all nouns are in the table by then
    frame = importlib.import_module("lanmail.web.api.frame")
    about = inspect.cleandoc(frame.__doc__ or "").split("\n\n")[1:]
    parts = ["## Description", *map(_block, about), "## Methods"]
    for one in sorted(frame.METHODS.values(), key=lambda one: one.name):
        verb = "GET or POST" if one.reads else "POST"
        who = {"admin": "keys with the rights admin", "read": "keys with the rights admin or read",
               "self": "also the account it is about"}[one.needs]
        text = "\n\n".join(map(_block, inspect.cleandoc(one.about).split("\n\n")))
        parts.append(f"### {one.name}\n\n{verb}; {who}.\n\n{text}\n\n{_parameters(one.params)}")
    return page("lanmail-api", 7, "methods of the HTTP API", "\n\n".join(part.strip() for part in parts if part))


def _parameters(model: Any) -> str:
    schema_ = model.model_json_schema()
    rows = ["| parameter | | what it is |", "|---|---|---|"]
    for name, known in schema_.get("properties", {}).items():
        must = "must be given" if name in schema_.get("required", ()) else \
            f"`{json.dumps(known['default'])}`" if known.get("default") not in (None, "") else "may be left out"
        rows.append(f"| `{name}` | {_type(known)}, {must} | {_cell(known.get('description', ''))} |")
    return "\n".join(rows) if len(rows) > 2 else ""


def _type(known: dict[str, Any]) -> str:
    several = [one for one in known.get("anyOf", [known]) if one.get("type") != "null"]
    said = known.get("enum") or (several[0].get("enum") if several else None)
    if said:
        return "one of " + ", ".join(f"`{one}`" for one in said)
    words = {"string": "text", "integer": "number", "boolean": "true or false", "array": "list", "object": "object"}
    return " or ".join(words.get(one.get("type", ""), "any") for one in several)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def keys_of(model: Any) -> str:
    """A model's keys as tables, one a section."""
    lines: list[str] = []
    above: tuple[str, ...] | None = None
    for key, field in schema.fields(model):
        if key[:-1] != above:
            above = tuple(key[:-1])
            inner = schema.section(model, above) if above else None
            lines += ["", f"### [{'.'.join(above)}]" if above else "### Top", ""]
            lines += [(inner.__doc__ or "").strip(), ""] if inner is not None else []
            lines += ["| key | default | |", "|---|---|---|"]
        if field.exclude:
            continue
        default = "(must be given)" if field.is_required() else f"`{schema.toml(field.default)}`"
        allowed = ", ".join(f"`{one}`" for one in schema.choices(field))
        words = _cell(field.description or "") + (f" One of {allowed}." if allowed else "")
        lines.append(f"| `{key[-1]}` | {default} | {words} |")
    return "\n".join(lines).strip()


def settings_page() -> str:
    """lanmail.toml: every key with its default and its sentence."""
    about = ('Sizes are written `"512KB"`, `"50MB"`, durations `"30s"`, `"5m"`, `"3d"`. A reload (SIGHUP) makes '
             "changes count; `lanmail config check` names all errors with file and line.")
    account = keys_of(settings.Account).replace("### Top", "").strip()
    return page("lanmail.toml", 5, "settings of all programs", "\n\n".join([
        f"## Description\n\n{about}", "## Settings", keys_of(settings.Settings),
        "## Accounts\n\n`conf/accounts/NAME.toml`. A key of `[account_defaults]` that is left out has its default from "
        "there.", account,
        "### [sources.NAME]\n\nOne external mailbox of this account. A key that is left out has its default from "
        "`[incoming]`; a source that names a host or port of its own takes nothing of the server, TLS and log-in "
        "there.\n\n" + keys_of(incoming.Source).replace("### Top", "").strip(),
        '## Aliases\n\n`conf/aliases.toml`: `"info" = ["meier", "schmidt"]`. A name without a domain counts in all '
        "local domains; targets are accounts, other aliases, groups, or addresses elsewhere.",
        "## Groups\n\n`conf/groups.toml`, a table for each: an address whose mail goes to several people. `[everyone]` "
        "has all people of the office as members: the accounts but for those that are disabled, team mailboxes or "
        "e-invoice mailboxes.\n\n" + keys_of(groups.Group).replace("### Top", "").strip(),
        "## See also\n\n[lanmail](lanmail.md)(1)"]))


def pages() -> dict[Path, str]:
    """Everything that is made: path → content."""
    made = {MAN / f"lanmail-{program.name}.md": program_page(program) for program in programs.ALL}
    made[MAN / "lanmail.md"] = admin_page()
    made[MAN / "lanmail.toml.md"] = settings_page()
    made[MAN / "lanmail-api.md"] = api_page()
    made[HERE / "conf/lanmail.toml.sample"] = config.sample()
    for name, made_schema in (("lanmail", config.json_schema()), ("account", config.account_json_schema()),
                              ("groups", config.group_json_schema())):
        made[HERE / f"docs/schema/{name}.json"] = json.dumps(made_schema, indent=2, ensure_ascii=False) + "\n"
    return made


def behind() -> list[str]:
    """The made files that are not what the code says now."""
    made = pages()
    stale = [path for path in MAN.glob("*.md") if path not in made]
    wrong = [path for path, text in made.items() if not path.exists() or path.read_text() != text]
    return sorted(str(path.relative_to(HERE)) for path in [*stale, *wrong])


def write() -> None:
    made = pages()
    for path in MAN.glob("*.md"):
        if path not in made:
            path.unlink()
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def roff(target: Path) -> None:
    """Manual pages for man(1) below `target`, as man1/lanmail.1 and so on."""
    if shutil.which("lowdown") is None:
        print("no lowdown: no manual pages for man(1)", file=sys.stderr)
        return
    for path, text in pages().items():
        title = re.search(r"^# (\S+)\((\d)\)$", text, re.M)
        if path.parent != MAN or not title:
            continue
        name, section = title.groups()
        plain = re.sub(r"\[([^]]*)\]\([^)]*\.md\)", r"\1", text.split(title[0], 1)[1])
        plain = re.sub(r"(?m)^#(#+ )", r"\1", plain)    # the title is not a heading there
        out = target / f"man{section}" / f"{name}.{section}"
        out.parent.mkdir(parents=True, exist_ok=True)
        command = ["lowdown", "-s", "-Tman", "--out-no-smarty", f"-Mtitle={name}", f"-Msection={section}",
                   f"-Msource=lanmail {lanmail.__version__}"]
        made = subprocess.run(command, input=plain, capture_output=True, text=True, check=True)
        out.write_text(made.stdout)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        late = behind()
        sys.exit(f"behind the code, run make docs: {' '.join(late)}" if late else 0)
    if sys.argv[1:2] == ["--man"]:
        roff(Path(sys.argv[2]))
    else:
        write()
