"""Relax passes, one a file; `pipeline.py` holds their order."""
