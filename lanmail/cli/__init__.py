"""The `lanmail` command: one file per noun, put together in lanmail/admin.py."""
