"""Tracker, device servers, and the emulated link and slow device of the loopback lab."""
