"""Backups of the leader's store and of who may come in: made, listed, verified, pruned and restored."""
