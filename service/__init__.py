"""The HTTP service: coarse volumes in, fine volumes out. Imports models, never training."""
