"""Speaking to servers elsewhere: SMTP, IMAP, POP3, HTTP, FTP, SFTP; by TLS, through proxies, and bounded."""
