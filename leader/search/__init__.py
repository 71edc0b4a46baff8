"""Searching logs: a pattern in one log, a run or a namespace, in both tiers, with bounded memory and time."""
