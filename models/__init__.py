"""Networks and numerics on tensors, which all other folders build on. Needs torch and numpy, no web or storage."""
