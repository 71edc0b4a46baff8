"""The shipper: carries every spool of a machine to the leader, over one stream, until the leader has it."""
