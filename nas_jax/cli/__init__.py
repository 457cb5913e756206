"""The commands behind `nas-jax`; each one is also `python -m nas_jax.cli.COMMAND`."""
