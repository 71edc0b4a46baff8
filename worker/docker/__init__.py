"""Containers of Docker as a source of logs: their files, identity and ends, as dockerd keeps them on its disk."""
