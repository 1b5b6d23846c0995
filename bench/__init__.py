"""Benchmarks: what one admission review costs, as ratios between programs measured in turn."""
