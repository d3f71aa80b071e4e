"""The command `python -m i2i.explore`; see `i2i.tools.explore`."""

from i2i.tools.explore.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main())
