"""Has nothing for typed Python: see non_finite.pyx."""
