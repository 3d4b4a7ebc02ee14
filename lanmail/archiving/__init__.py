"""The archive: an immutable store, the journal that proves it, and what is done with both.

    archive/2026-11/cur/NAME    a mail, one file, 0440, with its envelope lines on top; a Maildir for each month
    archive/journal.jsonl       a line for each mail and for each thing done with one, chained by SHA-256
    state/archive/head.json     where the journal ended, outside of the archive: an end that is cut off is noticed

`store` names and writes the files, `journal` the lines; both docstrings are the format. archived and the `lanmail
archive` command share this package, and everything else (the search index) can be made anew from it.
"""
