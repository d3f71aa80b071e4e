"""The command `python -m i2i.report`; see `i2i.tools.report`."""

from i2i.tools.report import run_command

if __name__ == "__main__":
    raise SystemExit(run_command())
