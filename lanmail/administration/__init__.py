"""What the command line, the HTTP API and the pages have in common: making, changing and removing."""
