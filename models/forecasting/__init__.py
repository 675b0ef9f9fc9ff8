"""Networks that forecast a velocity field in a plane."""
