"""`python -m i2i COMMAND`: the console command; see `i2i.cli`."""

from i2i.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
