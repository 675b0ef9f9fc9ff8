"""The flows: one solver a file, those in periodic boxes on one pseudo-spectral core."""
