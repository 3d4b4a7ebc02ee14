"""The IMAP server's package: the wire, the commands, the folders, and reading one message."""
