"""What log files of others look like: pure codecs, from blocks of a file to bytes of the log and their frames."""
