"""Stored volumes and views of them."""
