"""i2i: conditional image generation and image-to-image translation with GANs."""

__version__ = "0.1.0"
