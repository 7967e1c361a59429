"""Functions of one element, one row or one group at a time: activations, norms, losses, steps of learning."""
