"""Benchmarks: python -m bench.<name> [--quick] for one, python -m bench for all of them and the report."""
