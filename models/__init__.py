"""Networks and numerics on tensors: the floor everything else stands on. Needs torch and numpy, no web and no storage."""
