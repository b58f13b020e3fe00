"""Layers written by hand: forward and backward in NumPy, in PyTorch and in JAX."""
