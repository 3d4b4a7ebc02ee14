"""What in conf/ still names an account or group that is no more."""

from lanmail import config, groups
from lanmail.errors import ConfigError
from lanmail.paths import Paths


def left(where: Paths, name: str) -> list[str]:
    """A warning for each alias that leads to the name, and each group that has it somewhere."""
    found = []
    try:
        for (alias, _), targets in config.load_aliases(where.aliases).items():
            if any(target.lower() == name and not host for target, host in targets):
                found.append(f"warning: alias {alias} still leads to {name}")
        for one in groups.load(where.groups).values():
            for key, texts in (("members", one.members), ("may_post", one.may_post), ("owner", [one.owner])):
                if name in [text.lower() for text in texts]:
                    found.append(f"warning: group {one.name} still has {name} in {key}")
    except ConfigError:
        pass  # `lanmail config check` tells
    return found
