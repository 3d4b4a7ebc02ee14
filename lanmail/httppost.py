"""A document that is posted to a URL: jobs of the kind post (jobs.py).

With `Variable` it is a file in a multipart form (RFC 7578), as PHP finds it in $_FILES; without, it is the body itself.
Exactly the status 200 means that it was taken, as for mail (transports/http.py); redirects are not followed.
"""

import asyncio
import re
import secrets

from lanmail import jobs, secret
from lanmail.clients import httpclient, tlsclient, tunnel
from lanmail.errors import Temporary
from lanmail.paths import Paths

TIMEOUT = 300.0  # seconds in all
_TYPE = re.compile(r"[A-Za-z0-9.+-]+/[A-Za-z0-9.+-]+(; ?charset=[A-Za-z0-9-]+)?")


async def send(job: jobs.Job, entry_id: str, paths: Paths, via: tunnel.Proxy | None = None) -> str:
    """Post it; what the server said. Temporary."""
    asked = await asyncio.get_running_loop().run_in_executor(None, request, job, entry_id, paths)
    answer = await httpclient.send(asked, tlsclient.DEFAULT, via, TIMEOUT)
    said = f"HTTP {answer.status} {answer.reason} {answer.excerpt()}".strip()
    if answer.status != 200:
        raise Temporary(said)
    return said


def request(job: jobs.Job, entry_id: str, paths: Paths) -> httpclient.Request:
    """What is asked. `X-Lanmail-Id` is the same at each try, so that a program can tell a second one. Temporary."""
    kind = job.get("Content-Type")
    kind = kind if _TYPE.fullmatch(kind) else "application/octet-stream"
    headers = [("X-Lanmail-Id", entry_id.encode("ascii", "replace").decode())]
    if job.get("Authorization"):
        headers.append(("Authorization", secret.read(job.get("Authorization"), paths.conf).reveal()))
    body = job.body
    if job.get("Variable"):
        border = f"lanmail-{secrets.token_hex(16)}"
        head = (f'--{border}\r\nContent-Disposition: form-data; name="{_quoted(job.get("Variable"))}"; '
                f'filename="{_quoted(job.get("File-Name") or "document")}"\r\nContent-Type: {kind}\r\n\r\n')
        body = head.encode() + body + f"\r\n--{border}--\r\n".encode()
        kind = f"multipart/form-data; boundary={border}"
    headers.append(("Content-Type", kind))
    return httpclient.Request("POST", job.get("Url"), tuple(headers), [body], len(body))


def _quoted(name: str) -> str:
    return re.sub(r"[/\\]", "_", name).replace('"', "%22")  # as browsers do it; a field of a job has no line ends
