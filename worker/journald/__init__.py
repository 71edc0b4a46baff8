"""Units of systemd as a source of logs, read from the journal by journalctl."""
