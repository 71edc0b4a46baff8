"""What runs beside the tasks: it captures their output, keeps it in a spool and ships it to the leader."""
