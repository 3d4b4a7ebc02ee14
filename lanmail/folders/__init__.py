"""What stands in a folder beside its messages, in Dovecot's files and ours; looking at it, changing it."""
