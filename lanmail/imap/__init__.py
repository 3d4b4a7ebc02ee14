"""The IMAP server's package: the wire, the commands, the folders."""
