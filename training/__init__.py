"""Makes what is in ``weights/``: simulated flows, data sets, training, evaluation."""
