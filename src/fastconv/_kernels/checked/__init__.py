"""Pooling, its gradients and its inverse."""
