"""What a cell computes with: pure functions of arrays."""
