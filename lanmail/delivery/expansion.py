"""The way of a mail by the rules of the accounts it reaches: over aliases, groups and forwards. Runs in a thread.

    recipient → alias → group → account → its rules → forward → account → …

Each account is visited once, whom a mail names itself before the members of groups. Its rules wish (rules/mail.py),
and when all have been asked, the wishes become a route.Route. Where forwards lead in a circle, so that no copy would
be left anywhere, the last account on the way keeps one. Whatever a rule cannot say now defers its recipient only.
"""

import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from lanmail import dsn, envelope, log
from lanmail.address import Address, parse
from lanmail.delivery import route
from lanmail.errors import MailError, Permanent, Temporary
from lanmail.folders import quota
from lanmail.rules import archive, autoresponder, command, einvoice, filter, forward, group, junk, sentcopy, sms
from lanmail.rules.mail import UNCHANGED, Changes, Held, Mail, Target, Visit
from lanmail.settings import Account

Rule = Callable[[Mail, Visit], None]
NOWHERE = "Its forward leads in a circle, to nobody, or only to the internet, where this account must not send."
MOST = 512  # characters of a value in X-Origin
RULES: tuple[Rule, ...] = (
    command.apply, filter.apply, junk.apply, einvoice.apply, autoresponder.apply, forward.apply, sms.apply)


@dataclass(slots=True)
class _Step:
    """One address that is still to be looked at, and how the way led to it."""

    recipient: envelope.Recipient
    address: Address
    via: tuple[str, ...] = ()
    direct: bool = True
    forwarder: Account | None = None
    by: "_Stop | None" = None  # the visit whose forward led here
    group: str = ""  # of which the members are to be found
    changes: Changes = UNCHANGED  # that groups on the way made


@dataclass(slots=True)
class _Stop:
    """An account on the way, and where its forwards lead."""

    visit: Visit
    next: list["_Stop"] = field(default_factory=list)
    lands: bool = False  # a copy stays here, goes out, or is not needed


class Expansion:
    """Of one mail. `rules` are asked in their order at each account."""

    def __init__(self, mail: Mail, rules: tuple[Rule, ...] = RULES) -> None:
        self.mail, self.directory, self.rules = mail, mail.directory, rules
        self.route = route.Route()
        self.stops: dict[str, _Stop] = {}  # in the order of the way
        self.reached: dict[str, Account] = {}  # also those whose rules cannot be followed now
        self.steps: deque[_Step] = deque()
        self.outside: dict[Address, list[tuple[_Stop, Changes]]] = {}  # where accounts forward to

    def find(self) -> route.Route:
        """The way."""
        for one in self.mail.head.recipients:
            self.steps.append(_Step(one, one.address))
        while self.steps:
            self._look(self.steps.popleft())
        self._land()
        self._leave()
        for stop in self.stops.values():
            self._place(stop.visit)
        self._hide()
        self._sent_copy()
        for address in self.route.external:  # named directly and through one of ours: once
            self.route.leaving.pop(address, None)
        try:
            self.route.made += archive.collect(self.mail, self.reached.values())
        except Temporary as error:  # nothing is delivered that might have to be archived
            return route.Route(deferred=[dsn.Report(one, error) for one in self.mail.head.recipients])
        return self.route

    # on the way

    def _look(self, step: _Step) -> None:
        if step.group:
            self._group(step)
            return
        try:
            found = self.directory.resolve(step.address)
        except Temporary as error:
            self._defer(step, error)
            return
        if found.kind == "external":
            self._outside(step, step.address, alias=False)
        elif found.kind == "unknown":
            self._unknown(step)
        elif not (found.accounts or found.external or found.groups):
            self._without_postmaster(step)
        else:
            if step.recipient.params and step.direct and dsn.wanted(step.recipient, "delivered"):
                self.route.delivered_wanted = True
            for address in found.external:
                self._outside(step, address, alias=True)
            for name in found.accounts:
                self._account(step, name)
            self.steps += [replace(step, group=name) for name in found.groups]

    def _group(self, step: _Step) -> None:
        """Its members, or who gets the mail instead of them."""
        one = self.directory.group(step.group)
        if one is None:  # it was there a moment ago
            self._defer(step, Temporary(f"the group {step.group} is gone"))
            return
        try:
            fan = group.expand(self.mail, one, step.address, step.forwarder)
        except Temporary as error:
            self._defer(step, error)
            return
        except Permanent as error:
            if step.forwarder is None:
                self.route.failed.append(dsn.Report(step.recipient, error))
            else:
                log.group_refused(id=self.mail.id, group=one.name, account=step.forwarder.name, reply=str(error))
            return
        inner = replace(step, via=(*step.via, one.name), direct=False, group="", forwarder=None, changes=fan.changes)
        if fan.instead is not None:
            again = one.name in step.via  # owners that are groups can lead in a circle
            to = Address("postmaster", self.mail.settings.server.domain) if again else fan.instead
            self.steps.append(replace(inner, address=to))
            return
        self.mail.say(f"{self.mail.id}: group {one.name}: {len(fan.accounts)} here, {len(fan.external)} outside")
        for name in fan.accounts:
            self._account(inner, name)
        for address in fan.external:
            if step.by is not None:
                self._outside(replace(step, changes=fan.outside), address, alias=True)
            else:
                leaving = route.Leaving(fan.outside, fan.sender, fan.origin)
                self.route.leaving.setdefault(address, (envelope.Recipient(address), leaving))

    def _without_postmaster(self, step: _Step) -> None:
        if step.by is None:
            self.route.stuck.append((step.recipient, route.NO_POSTMASTER))
        else:
            log.target_unknown(id=self.mail.id, to=str(step.address), via=" ".join(step.via))

    def _unknown(self, step: _Step) -> None:
        if step.direct:
            self.route.failed.append(route.unknown(step.recipient))
        else:
            log.target_unknown(id=self.mail.id, to=str(step.address), via=" ".join(step.via))

    def _outside(self, step: _Step, address: Address, *, alias: bool) -> None:
        one = step.recipient
        if step.by is None:
            if alias:
                self.route.leaving.setdefault(address, (one, route.through(one)))
            else:
                self.route.external.setdefault(address, one)
            return
        account = step.by.visit.account
        if account.deny_internet:
            log.denied_internet(id=self.mail.id, account=account.name, to=str(address))
            return
        step.by.lands = True
        self.outside.setdefault(address, []).append((step.by, step.changes))

    def _account(self, step: _Step, name: str) -> None:
        stop = self.stops.get(name)
        if stop is None:
            stop = self._visit(step, name)
            if stop is None:
                return
        if step.by is not None:
            step.by.next.append(stop)

    def _visit(self, step: _Step, name: str) -> _Stop | None:
        """Ask the rules; None when the account takes the mail not now, or never."""
        try:
            account = self.directory.account(name, fresh=False)
        except Temporary:
            account = Account(name=name)  # broken from the start: its mail waits for no rule of it
        if account is None:
            self._defer(step, Temporary(f"the account {name} was there a moment ago"))
            return None
        self.reached[name] = account
        visit = Visit(account, step.recipient, step.via, step.direct, changes=step.changes)
        try:
            for rule in self.rules:
                rule(self.mail, visit)
                if visit.consumed:
                    break
        except Held as error:
            del self.reached[name]
            self.route.stuck.append((step.recipient, error.text))
            if step.by is not None:
                step.by.lands = True
            return None
        except Permanent as error:
            del self.reached[name]
            self._refused(step, name, error)
            return None
        except Exception as error:
            self._defer(step, self._temporary(error, name))
            return None
        stop = self.stops[name] = _Stop(visit, lands=bool(visit.consumed))
        self.route.made += visit.made
        if visit.consumed:
            visit.keep = False
            log.consumed(id=self.mail.id, account=name, why=visit.consumed)
            return stop
        for target in visit.targets:
            self._target(step, stop, target)
        stop.lands |= visit.keep
        return stop

    def _target(self, step: _Step, stop: _Stop, target: Target) -> None:
        account = stop.visit.account
        domain = "" if "@" in target.to else f"@{self.mail.settings.server.domain}"
        address = parse(f"{target.to}{domain}")
        log.forwarded(id=self.mail.id, account=account.name, to=str(address), why=target.why)
        self.mail.say(f"{self.mail.id}: account {account.name} sends it on to {address} ({target.why})")
        self.steps.append(_Step(step.recipient, address, (*step.via, account.name), direct=False, forwarder=account,
                                by=stop, changes=step.changes))

    def _temporary(self, error: Exception, name: str) -> MailError:
        if isinstance(error, Temporary):
            return error
        if not isinstance(error, OSError):
            log.crashed(error=repr(error), where="".join(traceback.format_exception(error)), id=self.mail.id)
        return Temporary(f"a rule of {name} cannot be followed now: {error}")

    def _refused(self, step: _Step, name: str, error: Permanent) -> None:
        """Who sent the mail need not know to whom it was forwarded: there the copy stays, if it must."""
        if step.by is None:
            self.route.failed.append(dsn.Report(step.recipient, error))
        else:
            log.target_refused(id=self.mail.id, account=name, via=" ".join(step.via), reply=str(error))

    def _defer(self, step: _Step, error: MailError) -> None:
        self.route.deferred.append(dsn.Report(step.recipient, error))
        if step.by is not None:
            step.by.lands = True  # or it does not, when this is decided

    # where it ends

    def _land(self) -> None:
        """See to it that every account that sends the mail on does so to somewhere."""
        stops = list(self.stops.values())
        while floating := self._floating(stops):
            last = floating[-1]
            last.visit.keep = last.lands = True
            log.forward_ends(id=self.mail.id, account=last.visit.name)
            self.mail.say(f"{self.mail.id}: the forward of {last.visit.name} leads nowhere: the copy stays there")
            self.route.made += forward.stopped(self.mail, last.visit.name, NOWHERE)

    @staticmethod
    def _floating(stops: list[_Stop]) -> list[_Stop]:
        """The accounts from which no copy arrives anywhere."""
        changed = True
        while changed:
            changed = False
            for stop in stops:
                if not stop.lands and any(one.lands for one in stop.next):
                    stop.lands = changed = True
        return [stop for stop in stops if not stop.lands]

    def _leave(self) -> None:
        """What accounts forward outside, once to each address."""
        for address, ways in self.outside.items():
            if address in self.route.external or address in self.route.leaving:
                for stop, _ in ways:  # it goes there by another way, on which it would not come back if that fails
                    stop.visit.keep = True
            else:
                leaving = self._forwarded([stop.visit for stop, _ in ways], ways[0][1])
                self.route.leaving[address] = envelope.Recipient(address), leaving

    def _forwarded(self, visits: list[Visit], changes: Changes) -> route.Leaving:
        """Sent on by the first account: failures come to it, and to all that have no copy of the mail."""
        name, keep = visits[0].name, visits[0].keep
        mine = Address(name, self.mail.settings.server.domain)
        lines = f"Delivered-To: {mine}\nX-Forwarded-For: {mine}\n".encode() + changes.lines
        facts = [("account", name), ("keep", "yes" if keep else "no")]
        if also := _joined([one for one in visits if not one.keep and one.name != name]):
            facts.append(("also", also))
        if self.mail.origin.kind == "local" and (source := self.mail.origin.get("source")) is not None:
            facts.append(("source", source))  # so that notices about notices end
        return route.Leaving(replace(changes, lines=lines), None if self.mail.sender is None else mine,
                             envelope.Origin("forward", tuple(facts)))

    def _hide(self) -> None:
        """No copy but the sender's own tells who got a blind one."""
        hidden = self.mail.hidden
        if not hidden:
            return
        for key, place in self.route.places.items():
            changes = replace(place.changes, without=(*place.changes.without, *hidden))
            self.route.places[key] = replace(place, changes=changes)
        for address, (one, leaving) in self.route.leaving.items():
            changes = replace(leaving.changes, without=(*leaving.changes.without, *hidden))
            self.route.leaving[address] = one, replace(leaving, changes=changes)

    def _sent_copy(self) -> None:
        """The sender's own copy; trouble with it holds nobody's mail up."""
        try:
            folder = sentcopy.folder(self.mail)
        except (Temporary, OSError) as error:
            late = self._temporary(error, str(self.mail.submitter))
            self.route.deferred.append(dsn.Report(self.mail.head.recipients[0], late))
            return
        if folder is not None and self.mail.submitter is not None:
            place = route.Place(self.mail.submitter, None, folder, sentcopy.FLAGS)
            self.route.places[place.key] = place

    def _place(self, visit: Visit) -> None:
        if not visit.keep:
            return
        place = route.Place(visit.name, visit.recipient, visit.folder, changes=visit.changes)
        self.route.places[place.key] = place
        if limits := quota.Limits.of(visit.account):
            self.route.limits[visit.name] = limits


def _joined(visits: list[Visit]) -> str:
    """The names as one value of X-Origin; those that do not fit into it keep a copy instead."""
    found: dict[str, None] = {}
    for one in visits:
        if len(",".join([*found, one.name])) > MOST:
            one.keep = True
        else:
            found[one.name] = None
    return ",".join(found)
