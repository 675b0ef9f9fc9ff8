"""The flows. Each has a file; those in periodic boxes share one pseudo-spectral solver."""
