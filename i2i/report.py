"""The command `python -m i2i.report`; see `i2i.tools.report`."""

from i2i.tools.report import main

if __name__ == "__main__":
    raise SystemExit(main())
