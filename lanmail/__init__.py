"""lanmail: a mail server for the office LAN, made of small programs, Maildir spools and flat files."""

__version__ = "0.1.0"
