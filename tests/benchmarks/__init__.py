"""How fast, and beside what: ``python -m tests.benchmarks``; see docs/benchmarks.md."""
