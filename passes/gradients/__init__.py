"""Gradients of Relax operators, one family of operators a file; `rules.py` holds them all."""
