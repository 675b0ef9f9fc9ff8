"""Measures how far a super-resolved field is from the true one. Each metric has one definition."""
