"""The end of a grant: signed out here, or taken back at the provider as well (RFC 7009).

Whatever the provider says, what lies here is deleted. All of it happens under the record's lock, so no refresh that is
under way brings it back.
"""

from lanmail import printable
from lanmail.errors import Temporary
from lanmail.oauth import endpoint, errors
from lanmail.oauth.apps import App
from lanmail.oauth.pending import Folder
from lanmail.oauth.store import Store
from lanmail.paths import Paths


async def sign_out(paths: Paths, app: str, address: str) -> bool:
    """Delete the tokens here; whether there were any. OSError, store.Busy."""
    kept = Store(paths)
    async with kept.lock(app, address):
        Folder(paths).forget(app, address)
        return kept.remove(app, address)


async def revoke(paths: Paths, app: App, address: str) -> str:
    """Take the grant back at the provider, and delete the tokens here; what went wrong at the provider, or nothing."""
    kept = Store(paths)
    async with kept.lock(app.name, address):
        try:
            return await _ask(kept, app, address)
        finally:
            Folder(paths).forget(app.name, address)
            kept.remove(app.name, address)


async def _ask(kept: Store, app: App, address: str) -> str:
    try:
        record = kept.read(app.name, address)
        token, kind = (record.refresh, "refresh_token") if record is not None else (None, "")
        if not token:
            access = kept.access(app.name, address)
            token, kind = (access.secret, "access_token") if access is not None else (None, "")
        if not token:
            return "there is no token that could be taken back"
        form = {"token": token.reveal(), "token_type_hint": kind}
        answer = await endpoint.post(app, kept.paths, app.revoke_url, form, proof=app.revoke_with_client)
    except Temporary as error:
        return error.text
    except OSError as error:
        return str(error)
    if 200 <= answer.status < 300:
        return ""
    said = errors.fields(answer)
    words = " ".join(str(said[name]) for name in ("error", "error_description") if said.get(name))
    return printable.line(f"HTTP {answer.status} {words or answer.excerpt()}".strip())
