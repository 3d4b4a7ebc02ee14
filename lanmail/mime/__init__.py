"""Reading one message: its header, its parts, and how IMAP writes what they say. Used by imapd and deliver."""
