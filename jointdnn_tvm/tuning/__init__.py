"""Tuning: what the rules for kernels decide is tried out on the user's own devices."""
