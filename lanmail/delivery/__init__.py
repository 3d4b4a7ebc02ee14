"""What deliver does, cut by noun: entry, route, maildrop, attempt, drops, desk."""
