"""Text from outside on its way to a log, a bounce or a terminal: nothing in it moves a cursor or begins a line.

    line(text, mark=" ") -> str     the text with `mark` for each character that is not printable
    lines(text, mark="·") -> str    the same of a text of several lines, which it keeps

What mails, servers, file names and providers say goes through here before a person sees it.
"""


def line(text: str, mark: str = " ") -> str:
    """One line; quick for the usual text, which has nothing to be replaced."""
    return text if text.isprintable() else "".join(c if c.isprintable() else mark for c in text)


def lines(text: str, mark: str = "·") -> str:
    """Line ends become LF, tabs blanks."""
    plain = text.replace("\r\n", "\n")
    return "".join(c if c.isprintable() or c == "\n" else " " if c == "\t" else mark for c in plain)
