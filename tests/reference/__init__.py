"""Plain loops in float64, as independent of fastconv as two programs can be: nothing here imports it."""
