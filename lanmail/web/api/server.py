"""server.*: what runs here, and how it is."""

import os
import shutil
from typing import Any

import lanmail
from lanmail import backlog
from lanmail.web.api.frame import Call, Params, method


class Nothing(Params):
    """No parameters."""


@method("server.version", Nothing, needs="self", reads=True)
def version(_call: Call, _given: Nothing) -> dict[str, Any]:
    """The version of lanmail."""
    return {"version": lanmail.__version__}


@method("server.status", Nothing, needs="read", reads=True)
def status(call: Call, _given: Nothing) -> dict[str, Any]:
    """How many entries wait in each spool and since when, how many accounts there are, and the room on the disk."""
    paths = call.house.paths
    waiting: dict[str, dict[str, Any]] = {}
    for item in backlog.items(paths):
        known = waiting.setdefault(item.spool, {"entries": 0, "octets": 0, "oldest": 0.0})
        known["entries"] += 1
        known["octets"] += item.size
        known["oldest"] = max(known["oldest"], round(backlog.age(item), 1))
    disk = shutil.disk_usage(paths.var)
    return {"spools": waiting, "accounts": len(call.house.directory.names()),
            "disk": {"free": disk.free, "total": disk.total}, "load": list(os.getloadavg())}
