"""What runs in the background: orders, the list of jobs, filling a volume block by block."""
