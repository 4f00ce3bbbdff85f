"""Benchmarks (Sec. 4): data sets as Avalanche streams of tasks with new classes.

The modules are imported when a benchmark is created, because importing Avalanche takes
seconds.
"""

from avalanche_ham.benchmarks.registry import BENCHMARKS, create_benchmark

__all__ = ["BENCHMARKS", "create_benchmark"]
