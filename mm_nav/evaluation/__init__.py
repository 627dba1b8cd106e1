"""Episodes, metrics, suites and benchmarks."""
