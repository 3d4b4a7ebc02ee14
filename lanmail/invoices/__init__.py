"""What is an e-invoice (EN 16931): XML documents, PDFs that hold one, and mails with either.

`lanmail-einvoice` prints what it says, and deliver goes by it for e-invoice mailboxes. Documents are strangers' work:
programs ask an `examiner.Examiner`, whose child does the reading.
"""
