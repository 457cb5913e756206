"""An experiment from a config: stages as a table, each of which writes one artefact.

`stages.py` has the table and goes through it, `making.py` says what each is made from,
`loop.py` is what those of many steps share. Importing this loads no JAX.
"""
