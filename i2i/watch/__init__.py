"""Observers of a training run: the terminal, sample pictures, validation, the doctor, boards and reports."""
