"""Networks and numerics on tensors, which everything else stands on. Needs torch and numpy, no web and no storage."""
