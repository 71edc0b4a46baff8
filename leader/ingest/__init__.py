"""Ingest: checks what workers send, seals it, commits it in groups, acks it, and wakes those who tail."""
