"""Logs of older systems, taken into the catalog where they lie."""
