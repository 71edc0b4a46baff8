"""The worker daemon's control socket: start, list, signal and attach tasks on this machine."""
