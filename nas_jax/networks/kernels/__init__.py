"""What a cell computes with: pure functions of arrays, without parameters of their own."""
