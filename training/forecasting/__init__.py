"""Trains networks that forecast a velocity field in a plane, and examines what they learned."""
