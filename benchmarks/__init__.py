"""Parts of tools/benchmark.py: the contestants, the formulas they are compared with, timing and reports."""
