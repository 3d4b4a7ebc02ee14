"""The POP3 server's parts: `connection` (bytes and lines), `session` (log-in), `transaction` (the mailbox)."""
