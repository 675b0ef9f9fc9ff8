"""Which symmetries pairs of fields (X, Y) keep."""
