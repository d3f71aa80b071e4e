"""The command `python -m i2i.evaluate`; see `i2i.tools.evaluate`."""

from i2i.tools.evaluate import run_command

if __name__ == "__main__":
    raise SystemExit(run_command())
