"""Keeps the command `python -m i2i.evaluation.digits` of earlier versions."""
