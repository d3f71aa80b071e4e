"""Keeps the command `python -m i2i.visuals.curves` of earlier versions."""
