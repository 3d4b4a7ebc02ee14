"""What other programs, accidents and attackers leave in a Maildir, for the tests of the programs that read it.

`KINDS` maps a name to a function that puts one such thing into an account's Maildir; it is given the Maildir's root
and a directory outside, in which a file holds `SECRET`. What lies outside must never be served, and whatever was put
there must still exist afterwards: `inodes(root)` tells.
"""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

SECRET = b"Kennwort des Chefs"
OUTSIDE = b"From: chef@office.lan\nSubject: geheim\n\n" + SECRET + b"\n"
MAIL = b"From: fremd@example.org\nSubject: fremd\n\nVon einem anderen Programm\n"
HOST = "1763700000.M1P1.fremd"

Kind = Callable[[Path, Path], None]
KINDS: dict[str, Kind] = {}


def kind(make: Kind) -> Kind:
    KINDS[make.__name__.strip("_").replace("_", " ")] = make
    return make


def file(root: Path, name: str | bytes, data: bytes = MAIL, sub: str = "cur") -> Path:
    path = Path(os.fsdecode(os.fsencode(root / sub) + b"/" + os.fsencode(name)))
    path.write_bytes(data)
    return path


def names(title: str, *given: str | bytes, sub: str = "cur", data: bytes = MAIL) -> None:
    """A kind that is nothing but files with odd names."""
    def make(root: Path, _outside: Path) -> None:
        for name in given:
            file(root, name, data, sub)
    KINDS[title] = make


def inodes(root: Path) -> set[tuple[int, int]]:
    """Every thing below a Maildir, but for files that mail servers themselves write and may replace."""
    found = set()
    for where, directories, files in os.walk(root, followlinks=False):
        for name in (*directories, *files):
            status = os.lstat(os.path.join(where, name))
            if name not in OWN or not stat.S_ISREG(status.st_mode):
                found.add((status.st_dev, status.st_ino))
    return found


# --- not regular files ---------------------------------------------------------------------------------------------

@kind
def fifo(root: Path, _outside: Path) -> None:
    os.mkfifo(root / f"cur/{HOST},S=9,W=9:2,S")
    os.mkfifo(root / f"new/{HOST}2")


@kind
def unix_socket(root: Path, _outside: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        here = os.open(root / "cur", os.O_PATH)  # the path of a socket must be short
        one.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)


@kind
def device(root: Path, _outside: Path) -> None:
    os.mknod(root / "cur/zero", 0o20666, os.makedev(1, 5))
    os.mknod(root / "new/tty", 0o20666, os.makedev(5, 0))


@kind
def directory(root: Path, _outside: Path) -> None:
    (root / f"cur/{HOST}:2,S").mkdir()
    file(root, f"{HOST}:2,S/inside")
    (root / f"new/{HOST}d").mkdir()


@kind
def dangling_link(root: Path, _outside: Path) -> None:
    (root / f"cur/{HOST}:2,").symlink_to("nowhere")
    (root / f"new/{HOST}l").symlink_to("/nowhere/at/all")


@kind
def looping_link(root: Path, _outside: Path) -> None:
    (root / "cur/a:2,").symlink_to("b:2,")
    (root / "cur/b:2,").symlink_to("a:2,")


@kind
def link_outside(root: Path, outside: Path) -> None:
    (root / f"cur/{HOST},S=9,W=9:2,S").symlink_to(outside / "mail")
    (root / f"new/{HOST}").symlink_to(outside / "mail")


@kind
def link_to_passwd(root: Path, _outside: Path) -> None:
    (root / f"cur/{HOST}:2,S").symlink_to("/etc/passwd")


@kind
def link_inside(root: Path, _outside: Path) -> None:
    (root / "new/link").symlink_to(file(root, "real:2,S"))


@kind
def hard_link_elsewhere(root: Path, outside: Path) -> None:
    (outside / "shared").write_bytes(MAIL)
    os.link(outside / "shared", root / f"cur/{HOST}:2,S")


# --- unreadable, empty, huge -----------------------------------------------------------------------------------------

@kind
def mode_000(root: Path, _outside: Path) -> None:
    file(root, f"{HOST}:2,").chmod(0)
    file(root, f"{HOST}s,S={len(MAIL)},W={len(MAIL) + 4}:2,").chmod(0)


@kind
def other_owner(root: Path, _outside: Path) -> None:
    path = file(root, f"{HOST}:2,")
    path.chmod(0o600)
    os.chown(path, 12345, 12345)


@kind
def empty(root: Path, _outside: Path) -> None:
    file(root, f"{HOST}:2,S", b"")
    os.utime(file(root, f"{HOST}e", b"", "new"), (1_763_700_000, 1_763_700_000))


@kind
def sparse_2_GiB(root: Path, _outside: Path) -> None:
    os.truncate(file(root, f"{HOST}:2,S"), 2 << 30)
    os.truncate(file(root, f"{HOST}s,S=70,W=74:2,S"), 2 << 30)


@kind
def growing(root: Path, _outside: Path) -> None:
    file(root, f"{HOST},S=1000,W=1010", MAIL, "new")  # the rest has not been written yet


@kind
def begun(root: Path, _outside: Path) -> None:
    file(root, HOST, b"", "new")


# --- odd content -----------------------------------------------------------------------------------------------------

@kind
def NULs(root: Path, _outside: Path) -> None:
    file(root, f"{HOST}:2,", b"Subject: \0\0x\0\n\0To: a@b\n\n\0\0\0\n")
    file(root, f"{HOST}0:2,", bytes(100_000))


@kind
def no_header(root: Path, _outside: Path) -> None:
    file(root, f"{HOST}:2,", b"\nonly a body\n")
    file(root, f"{HOST}t:2,", b"not even a line end")


@kind
def only_a_header(root: Path, _outside: Path) -> None:
    file(root, f"{HOST}:2,", b"Subject: x\nFrom: a@b\n")
    file(root, f"{HOST}t:2,", b"Subject: torn in the mid")


@kind
def mixed_line_ends(root: Path, _outside: Path) -> None:
    file(root, f"{HOST}:2,", b"Subject: a\r\nFrom: b@c\n\r\nx\ry\r\r\nz\n\r\n\r")


@kind
def mbox_line(root: Path, _outside: Path) -> None:
    file(root, f"{HOST}:2,", b"From fremd@example.org Sat Nov 21 10:00:00 2026\n" + MAIL)


@kind
def long_lines(root: Path, _outside: Path) -> None:
    file(root, f"{HOST}:2,", b"Subject: " + b"x" * 1_000_000 + b"\n\n" + b"y" * 3_000_000)


@kind
def a_program(root: Path, _outside: Path) -> None:
    file(root, f"{HOST}:2,", b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 500)


# --- odd names -------------------------------------------------------------------------------------------------------

names("line ends in names", "a\nb:2,S", "c\r\nd", "e\tf:2,")
names("quotes in names", 'say "hello"\\:2,S', "it's:2,")
names("names that are not UTF-8", b"\xff\xfe\xe4:2,S", b"caf\xe9", b"\xed\xa0\x80:2,")
names("names of 250 bytes", "n" * 250, "m" * 247 + ":2,", b"\xc3\xa4" * 125)
names("names of 255 bytes", "n" * 255, "o" * 255, sub="new")
names("names with no room for letters", "n" * 255, "p" * 252 + ":2,")
names("names that begin with a dash", "-rf:2,S", "--help", "-")
names("blanks in names", "two words:2,S", " ", "  :2,", "end :2,S")
names("info of other kinds", "one:1,S", "three:3,S", "colon:", "semicolon;2,S", "bang!2,S", "none:x", "comma:2,,")
names("info twice", "twice:2,S:2,F", "twice:2,:2,", "a:b:2,S")
names("only an info", ":2,S", ":", "::2,")
names("letters that nobody knows", "odd:2,XYZ019_", "long:2," + "A" * 200, "umlaut:2,\xc4\xe4", "order:2,TSRFDS")
names("base names twice", "same:2,S", "same:2,F", "same", "SAME:2,")
names("hidden names", ".hidden:2,S", ".nfs00001", "...")
names("sizes that are too small", f"{HOST}1,S=1,W=1:2,", f"{HOST}2,S=0,W=0:2,")
names("sizes that are too large", f"{HOST}1,S=5000000000,W=5000000001:2,", f"{HOST}2,S=99999,W=999999999:2,")
names("sizes that are none", f"{HOST}1,S=-1,W=-2:2,", f"{HOST}2,S=,W=x:2,", f"{HOST}3,S=1e9,W=0x10:2,",
      f"{HOST}4,S={10**30},W={10**30}:2,", f"{HOST}5,S=1,S=2,W=3,W=4:2,", f"{HOST}6,S=\u0664\u0662:2,")
names("names of temporary files", "tmp.1234", "mail.swp", "#mail#", "mail~", "Thumbs.db", ".DS_Store")


@kind
def same_name_in_new_and_cur(root: Path, _outside: Path) -> None:
    file(root, "both:2,S")
    file(root, "both", MAIL + b"another\n", "new")


@kind
def in_the_way_of_flags(root: Path, outside: Path) -> None:
    for number, make in enumerate((os.mkdir, os.mkfifo, lambda path: os.symlink(outside / "mail", path))):
        for letters in ("", "F", "FS", "S", "a", "Fa", "FSa"):
            make(root / f"cur/{HOST}{number}:2,{letters}")
        file(root, f"{HOST}{number}", sub="new")


@kind
def second_link(root: Path, _outside: Path) -> None:
    os.link(file(root, "linked:2,S"), root / "new/linked")


# --- directories that are not what they should be --------------------------------------------------------------------

def replaced(sub: str, make: Callable[[Path, Path], None]) -> Kind:
    def replace(root: Path, outside: Path) -> None:
        for name in os.listdir(root / sub):  # the good ones must stay where they can be served
            other = "cur" if sub == "new" else "new"
            os.rename(root / sub / name, root / other / name)
        (root / sub).rmdir()
        make(root / sub, outside)
    return replace


for _sub in ("new", "cur", "tmp"):
    KINDS[f"{_sub} is missing"] = replaced(_sub, lambda _path, _outside: None)
    KINDS[f"{_sub} is a link"] = replaced(_sub, lambda path, outside: path.symlink_to(outside / "cur"))
    KINDS[f"{_sub} is a file"] = replaced(_sub, lambda path, _outside: path.write_bytes(MAIL) and None)
    KINDS[f"{_sub} is a fifo"] = replaced(_sub, lambda path, _outside: os.mkfifo(path))


def folder(root: Path, name: str | bytes) -> Path:
    path = Path(os.fsdecode(os.fsencode(root) + b"/" + os.fsencode(name)))
    for sub in ("tmp", "new", "cur"):
        (path / sub).mkdir(parents=True)
    file(path, f"{HOST}:2,S")
    return path


@kind
def odd_folders(root: Path, _outside: Path) -> None:
    for name in ("..DOVECOT-TRASHED", "...", ".a..b", ".&bad", ".&AC4ALgAv-", ".INBOX", ".INBOX.x", ".&-x&", ".end.",
                 b".\xff\xe4", ".new\nline", '."quoted"', ". ", "." + "x" * 254, "no dot", ".cur", ".&AGE-"):
        folder(root, name)


@kind
def folders_that_are_links(root: Path, outside: Path) -> None:
    (root / ".Fremd").symlink_to(outside)
    (root / ".Passwd").symlink_to("/etc/passwd")
    (root / ".Oben").symlink_to("..")
    (root / ".Schleife").symlink_to(".Schleife")
    (root / ".Halb").mkdir()
    for sub in ("new", "cur", "tmp"):
        (root / ".Halb" / sub).symlink_to(outside / "cur")


@kind
def folders_that_are_none(root: Path, _outside: Path) -> None:
    (root / ".Datei").write_bytes(MAIL)
    os.mkfifo(root / ".Rohr")
    (root / ".Leer").mkdir()
    (root / ".Cur").mkdir()
    (root / ".Cur/cur").write_bytes(MAIL)
    folder(root, ".Zu").chmod(0)


# --- the files of mail servers ---------------------------------------------------------------------------------------

OWN = ("dovecot-uidlist", "dovecot-uidvalidity", "dovecot-keywords", "lanmail-keywords", "subscriptions",
       "dovecot-uidlist.lock", "subscriptions.lock", "courierimapuiddb", "courierimapsubscribed", "maildirfolder",
       "lanmail-modseqs", "lanmail-cache", "dovecot-acl", "lanmail-special-use")


def own(title: str, make: Callable[[Path, Path], object]) -> None:
    """A kind: all these files are something else."""
    def put(root: Path, outside: Path) -> None:
        for name in OWN:
            (root / name).unlink(missing_ok=True)
            make(root / name, outside)
    KINDS[f"own files are {title}"] = put


def written(data: bytes, size: int = 0) -> Callable[[Path, Path], None]:
    """A file that has not been touched for a minute: who left a lock behind is waited for as long."""
    def make(path: Path, _outside: Path) -> None:
        path.write_bytes(data)
        os.truncate(path, size or len(data))
        os.utime(path, (path.stat().st_mtime - 60,) * 2)
    return make


own("fifos", lambda path, _outside: os.mkfifo(path))
own("directories", lambda path, _outside: path.mkdir())
own("links outside", lambda path, outside: path.symlink_to(outside / "mail"))
own("dangling links", lambda path, _outside: path.symlink_to("/nowhere/at/all"))
own("empty", written(b""))
own("noise", written(bytes(range(256)) * 300))
own("torn", written(b"3 V1763700000 N9 G0123\n1 :x\n7"))
own("100 MB", written(b"", 100 << 20))
