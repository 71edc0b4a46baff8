"""The reader: a log's bytes from any offset on, with bounded memory, from wherever they lie."""
