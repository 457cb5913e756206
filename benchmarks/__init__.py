"""Side-by-side runs against PyTorch; docs/benchmarks.md says how to start them."""
