"""The command `python -m i2i.check`; see `i2i.tools.check`."""

from i2i.tools.check.__main__ import run_command

if __name__ == "__main__":
    raise SystemExit(run_command())
