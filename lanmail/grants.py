"""Checking access tokens for XOAUTH2 and OAUTHBEARER log-ins.

There is no authorization server yet, so there is no token that could be good: `verify_token` refuses every one,
and the programs do not advertise the two mechanisms. The mechanisms themselves are parsed in `sasl`.
"""


def verify_token(token: str, *, user: str, service: str) -> str | None:
    """The account whose token this is, None when it is no good.

    The token decides: a `user` that the client names beside it must be the same account, or be empty.
    `service` (smtp, pop3, imap) is what the token must have been granted for.
    """
    return None
