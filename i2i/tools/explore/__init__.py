"""A look into what a class-conditional generator has learned: `python -m i2i.explore`."""
