"""One router in each file."""
