"""An experiment from a config: stages as a table, each of which writes one artefact.

`table.py` lists the stages, `making.py` says what each is made from, `workflow.py` goes
through them, `loop.py` is what those of many steps share. Importing this loads no JAX.
"""
