"""A package, so that no other `tests` among the installed packages is taken for it."""
