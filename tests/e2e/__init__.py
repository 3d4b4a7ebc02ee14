"""Real programs as processes on loopback ports, driven by real clients."""
