"""What relay does, cut by noun: route, destination, mail, desk, settling, notices."""
