"""The command `python -m i2i.evaluate`; see `i2i.tools.evaluate`."""

from i2i.tools.evaluate import main

if __name__ == "__main__":
    raise SystemExit(main())
