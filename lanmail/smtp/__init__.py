"""The parts of the SMTP server; the program is lanmail/smtpd.py."""
