"""The administrator's pages about accounts, with the methods of the API that they call."""

from lanmail.web.api import accountlist, aliases
from lanmail.web.api import outgoing as ways
from lanmail.web.pages import accounts, general, outgoing

NOUNS = (accountlist, aliases, ways)
PAGES = (accounts, general, outgoing)
