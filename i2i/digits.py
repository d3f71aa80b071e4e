"""The command `python -m i2i.digits`; see `i2i.tools.digits`."""

from i2i.tools.digits.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main())
