"""Weight gradients: one plan, four ways to the sums."""
