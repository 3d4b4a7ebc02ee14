"""How everything is, and was: counters, log files, the life of a mail, what is wrong."""
