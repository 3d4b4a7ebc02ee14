"""outgoing.certificate, set_certificate, remove_certificate: what an account signs its mail with (S/MIME)."""

import base64
from pathlib import Path
from typing import Any

from pydantic import Field

from lanmail import outgoing, smime
from lanmail.administration import smimefiles
from lanmail.errors import MailError, Problem
from lanmail.web.api.accounts import known
from lanmail.web.api.frame import Call, Params, Refused, method
from lanmail.web.api.ownrules import path_of

_Name = Field(min_length=1, max_length=200)


class Signing(Params):
    """An account."""

    name: str = _Name


class Certificate(Params):
    """A certificate with its key, and the password that opens it."""

    name: str = _Name
    data: str = Field(min_length=1, max_length=smimefiles.LIMIT * 4 // 3 + 1000,
                      description="PEM or PKCS#12, in base64")
    password: str = Field("", max_length=1024, repr=False, description="of the file; it is not kept")
    sign: bool = Field(True, description="sign mail from now on")


@method("outgoing.certificate", Signing, needs="read", reads=True)
def get(call: Call, given: Signing) -> dict[str, Any]:
    """The certificate that counts for an account: whose it is, until when, and what is wrong with it."""
    return _known(call, path_of(call, given.name))


def _known(call: Call, path: Path) -> dict[str, Any]:
    own = known(call, path, around=False).get("own", [])
    account = call.house.read(path)
    section = outgoing.of(call.house.settings().outgoing, account.outgoing).smime
    shown: dict[str, Any] = {"name": account.name, "sign": section.sign, "own": "outgoing.smime.certificate" in own,
                             "certificate": None, "problem": None}
    if not section.certificate:
        return shown
    try:
        return shown | {"certificate": _described(smime.own(section, call.house.paths.conf))}
    except MailError as error:
        return shown | {"problem": error.text}


@method("outgoing.set_certificate", Certificate)
def put(call: Call, given: Certificate) -> dict[str, Any]:
    """Sign with this certificate from now on; it takes the place of the one before."""
    path = path_of(call, given.name)
    try:
        data = base64.b64decode(given.data, validate=True)
    except ValueError:  # binascii.Error is one
        raise Refused("invalid_field", "data: this is no base64", "data") from None
    try:
        signer = smimefiles.accept(data, given.password, smime.now())
    except smimefiles.Refused as refused:
        raise Refused("invalid_field", str(refused), refused.field,
                      [Problem("", None, str(refused), refused.kind)]) from None
    smimefiles.give(call.house.paths, path, signer, sign=given.sign)
    return _known(call, path)


@method("outgoing.remove_certificate", Signing)
def remove(call: Call, given: Signing) -> dict[str, Any]:
    """Take an account's own certificate and its key away; mail goes as that of all from then on."""
    path = path_of(call, given.name)
    smimefiles.take(call.house.paths, path)
    return _known(call, path)


def _described(signer: smime.Signer) -> dict[str, Any]:
    found = signer.certificate
    return {"subject": found.subject.rfc4514_string()[:500], "issuer": found.issuer.rfc4514_string()[:500],
            "addresses": sorted(smime.addresses(found)), "from": f"{found.not_valid_before_utc:%Y-%m-%d}",
            "until": f"{found.not_valid_after_utc:%Y-%m-%d}", "good": not signer.expired(smime.now()),
            "chain": len(signer.chain)}
