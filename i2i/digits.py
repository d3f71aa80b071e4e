"""The command `python -m i2i.digits`; see `i2i.tools.digits`."""

from i2i.tools.digits.__main__ import run_command

if __name__ == "__main__":
    raise SystemExit(run_command())
