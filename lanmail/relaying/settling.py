"""The end of a try: what is done is done, who must know is told, the rest waits. Runs in a thread.

The order of the steps is what keeps mail from being lost or doubled when we are killed between any two of them:

    1. bounces and notices lie complete in spool/queue/tmp
    2. the state file says which recipients are decided, and names those files
    3. they are renamed into spool/queue/new
    4. the entry is removed, then the state file; or the state file tells when it is tried again
"""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from lanmail import atomic, dsn, envelope, log, outbound, spool
from lanmail.relaying import destination, notices, returning
from lanmail.relaying.mail import Mail
from lanmail.relaying.office import Office

_CHUNK = 1 << 18


@dataclass(slots=True)
class Outcome:
    """`again`: seconds until the next try; None when nothing is left to do, or when it waits for a destination."""

    done: bool
    again: float | None = None


def settle(office: Office, mail: Mail) -> Outcome:
    """Do the steps above. OSError: nothing is lost, and it is done again."""
    settings, state, now = office.settings().relay, mail.state, time.time()
    hand_over(office, mail)
    old = outbound.age(mail.entry.arrived())
    state.since = state.since or now
    if mail.held is not None:
        _hold(office, mail)
        return Outcome(done=True)
    if old >= settings.give_up:
        _give_up(mail, old)
    made, untold = (returning if returning.is_forward(mail) else notices).failures(office, mail)
    waiting = mail.undecided()
    if waiting and not state.late and 0 < settings.delay_notice <= old:
        state.late = True
        told = (returning if returning.is_forward(mail) else notices).late(
            office, mail, mail.entry.arrived() + settings.give_up)
        made += [told] if told is not None else []
    handed = notices.handed_on(office, mail)
    made += [handed] if handed is not None else []
    drafts = _seal(office, mail, made)
    outcome = Outcome(done=not waiting)
    if waiting:
        outcome.again = _put_off(mail, settings.retry, now)
    if drafts or waiting:
        _mark(mail, made)
        outbound.save(office.outbound, mail.id, state)
        mail.saved = True
    _tell(mail, made, drafts, untold)
    hand_over(office, mail, rewrite=bool(waiting and drafts))
    lost = [f"<{one.recipient.address}>: {one.answer}; {why}" for one, why in untold if why == notices.NOBODY]
    if lost and not waiting:
        mail.held = "\n".join(lost)
        _hold(office, mail)
    elif not waiting:
        _remove(office, mail)
    return outcome


def _give_up(mail: Mail, old: float) -> None:
    """Too old: what is left has failed."""
    for one in mail.undecided():
        known = mail.state.recipients.get(str(one.address))
        last = f": {known.answer}" if known is not None else ""
        mail.state.recipients[str(one.address)] = outbound.Decision(
            outbound.FAILED, f"554 5.4.7 not delivered within {old / 3600:.0f} hours{last}",
            known.remote if known is not None else None, time.time())
        log.failed(id=mail.id, to=str(one.address), transport=mail.way.settings.transport, host=None, delay=old,
                   tries=mail.state.tries, reply="554 5.4.7 not delivered in time")


def _put_off(mail: Mail, retry: list[float], now: float) -> float | None:
    """The next try of the mail; None when it waits for a destination."""
    state = mail.state
    last = [known.answer for one in mail.undecided() if (known := state.recipients.get(str(one.address))) is not None]
    state.error = last[0] if last else state.error
    if not mail.counted:
        return None
    delay = destination.pause(retry, state.tries)
    state.tries += 1
    state.next = now + delay
    return delay


def _seal(office: Office, mail: Mail, made: list[notices.Notice]) -> list[outbound.Handing]:
    """Step 1."""
    drafts = []
    for one in made:
        draft = office.queue.create(spool.new_id())
        try:
            draft.write(envelope.encode(one.head))
            for piece in [one.text] if one.text is not None else _message(office, mail):
                draft.write(piece)
                draft.flush()
        except BaseException:
            draft.abort()
            raise
        drafts.append(outbound.Handing(draft.id, draft.seal()))
    mail.state.handing += drafts
    return drafts


def _message(office: Office, mail: Mail) -> Iterator[bytes]:
    """The mail itself as it lies here, Return-Path and all."""
    one = mail.entry
    descriptor = atomic.open_regular(one.name, dir_fd=office.outbound.fd(one.place))
    try:
        offset = one.offset
        while piece := os.pread(descriptor, _CHUNK, offset):
            offset += len(piece)
            yield piece
    finally:
        os.close(descriptor)


def _mark(mail: Mail, made: list[notices.Notice]) -> None:
    """The sender hears of these, or need not."""
    mail.state.returned |= any(one.action == returning.ACTION for one in made)
    for known in mail.state.recipients.values():
        known.told = known.told or known.status != outbound.DEFERRED


def hand_over(office: Office, mail: Mail, *, rewrite: bool = False) -> None:
    """Step 3. A file that is not in tmp/ any more was put in place before."""
    handing = mail.state.handing
    for one in handing:
        with contextlib.suppress(FileNotFoundError):
            os.rename(one.temporary, one.name, src_dir_fd=office.queue.fd(spool.TMP),
                      dst_dir_fd=office.queue.fd(spool.NEW))
    if handing and not office.queue.one_fsync:
        os.fsync(office.queue.fd(spool.NEW))
    handing.clear()
    if rewrite:
        outbound.save(office.outbound, mail.id, mail.state)


def _tell(mail: Mail, made: list[notices.Notice], drafts: list[outbound.Handing],
          untold: list[tuple[dsn.Report, str]]) -> None:
    for one, draft in zip(made, drafts, strict=True):
        if one.action == returning.ACTION:
            log.returned(id=mail.id, account=mail.way.account or "", as_=draft.temporary)
        for report in one.reports:
            to = str(report.recipient.address)
            if one.action == "failed":
                log.bounced(id=mail.id, to=to, bounce=draft.temporary, reply=str(report.answer))
            else:
                log.notified(id=mail.id, to=to, notice=draft.temporary, action=one.action)
    for report, why in untold:
        log.untold(id=mail.id, to=str(report.recipient.address), reply=str(report.answer), why=why)


def _remove(office: Office, mail: Mail) -> None:
    """Step 4."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(mail.entry.name, dir_fd=office.outbound.fd(mail.entry.place))
    if mail.saved:
        office.outbound.drop_state(mail.id)


def _hold(office: Office, mail: Mail) -> None:
    """For a person to look at; `lanmail queue release` brings it back with its state."""
    why = mail.held or ""
    held = spool.Spool(office.paths.hold, state=office.paths.state / "hold", hold=office.paths.hold)
    held.state.mkdir(mode=0o750, parents=True, exist_ok=True)
    held.save_state(mail.id, {**outbound.dump(mail.state), "spool": "outbound"})
    office.outbound.hold(mail.entry.name, why, mail.entry.place)
    office.outbound.drop_state(mail.id)
    log.held(id=mail.id, why=why)
