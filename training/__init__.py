"""Floor 1: makes what lies in ``weights/`` (the flows, data sets, training, evaluation)."""
