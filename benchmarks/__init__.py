"""How fast fastconv is, on named layers of well-known networks, beside NumPy loops.

`pytest benchmarks` times every case (pytest-benchmark), `python -m benchmarks` prints the headline numbers.
Plain `pytest` runs neither.
"""
