"""How fast fastconv is, on named layers of well-known networks.

`python -m benchmarks.report` measures it beside other engines and writes docs/performance.md, `python -m
benchmarks LINE...` does so for the problems that lines name. `pytest benchmarks` times every case beside
NumPy loops (pytest-benchmark) and compares the results. Plain `pytest` runs none of these.

What to read in which order: `cases` (what is computed), `problems` (a pass of a case), `peers` and `fast`
(who computes it), `worker` (each in its own process), `rounds` (in turns), `contests` (who against whom),
`tables`, `page` and `plots` (what is shown of it), `report` and `__main__` (the commands).
"""
