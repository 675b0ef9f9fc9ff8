"""What runs in the background: specifications of jobs, their list, filling a volume block by block."""
