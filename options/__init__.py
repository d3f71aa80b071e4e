"""The command lines of train.py and test.py: argparse option classes over the options that i2i's parts own."""
