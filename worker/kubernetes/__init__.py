"""The node agent: which containers' logs are followed, as what, and how each of them ended."""
