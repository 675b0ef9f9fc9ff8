"""How far a super-resolved field is from the true one: one definition a metric."""
