"""Experiments that one command repeats."""
