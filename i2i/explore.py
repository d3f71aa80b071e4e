"""The command `python -m i2i.explore`; see `i2i.tools.explore`."""

from i2i.tools.explore.__main__ import run_command

if __name__ == "__main__":
    raise SystemExit(run_command())
