"""Numbers with units, as people read them."""


def shown_bytes(count: float) -> str:
    """Return a number of bytes with its unit: 512 KiB, 3.1 MiB, 0.26 GiB."""
    if count < 2**20:
        return f"{count / 2**10:.0f} KiB"
    return f"{count / 2**20:.3g} MiB" if count < 2**27 else f"{count / 2**30:.3g} GiB"
