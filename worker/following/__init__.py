"""Follows files that others write and rotate, each to a log of its own, past everything that happens to the files."""
