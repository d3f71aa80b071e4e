"""The command `python -m i2i.visuals.curves`; see `i2i.watch.boards.curves`."""

from i2i.watch.boards.curves import main

if __name__ == "__main__":
    main()
