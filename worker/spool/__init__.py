"""The spool: what a worker has captured and may still have to send again, in files."""
