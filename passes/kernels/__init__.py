"""Kernels written out loop by loop for a CPU, one kind of operator a file."""
