"""What happens to a mail because of an account, one file per rule. deliver calls them; `lanmail … test` asks them.

Every rule is a function `apply(mail, visit)`. It looks at the mail and at the account that the mail has reached, and
notes its wish in the visit: keep it, put it elsewhere, forward it, answer it. It sends nothing itself, for deliver
carries out all wishes together, each exactly once, whenever it is killed. What a rule must remember (who was answered)
it writes with the id of the mail: asked again for the same id, it says the same.

A rule raises Temporary when it cannot say now (the mail comes again), Permanent when this account refuses the mail.
Any other exception is temporary, too.
"""
