"""Benchmarks; each module runs by itself: python bench/<name>.py."""
