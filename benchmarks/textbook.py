"""The baseline that i2i is measured against: the reference implementation's algorithms, written plainly.

Separate forward passes, contiguous layouts, `torch.nn` layers as they come, default Adam, full precision, Pillow in and
out, one image after another. Networks carry the reference's parameter names, so that its weights load as they are. The
tests hold it to the reference's own figures. Run as a program it translates, see `main`.

Sources: Zhu et al. 2017 (arXiv 1703.10593), Isola et al. 2017 (arXiv 1611.07004), Radford et al. 2016 (1511.06434).
"""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from textbook_networks import GENERATORS, DigitDiscriminator, DigitGenerator, PatchGAN, initialize
from torch import Tensor, nn


def require_gradients(networks: list[nn.Module], required: bool) -> None:
    for parameter in itertools.chain.from_iterable(network.parameters() for network in networks):
        parameter.requires_grad = required


def to_target(objective: Callable[[Tensor, Tensor], Tensor], logits: Tensor, is_real: bool) -> Tensor:
    return objective(logits, logits.new_full((), float(is_real)).expand_as(logits))


class Pool:
    """Fifty earlier fakes."""

    def __init__(self) -> None:
        self.images: list[Tensor] = []

    def query(self, images: Tensor) -> Tensor:
        chosen = []
        for image in images.detach().split(1):
            if len(self.images) < 50:
                self.images.append(image)
            elif random.random() < 0.5:
                place = random.randrange(50)
                image, self.images[place] = self.images[place].clone(), image
            chosen.append(image)
        return torch.cat(chosen)


class CycleGAN:
    """One step: both generators, then both discriminators."""

    def __init__(self, generator: Callable[[], nn.Module], filters: int = 64, lr: float = 0.0002) -> None:
        self.networks = {
            "G_A": generator(),
            "G_B": generator(),
            "D_A": PatchGAN(3, filters),
            "D_B": PatchGAN(3, filters),
        }
        initialize(*self.networks.values())
        self.pools = Pool(), Pool()
        self.lr = lr

    def start(self) -> None:
        """Make the optimisers, once the networks are where they shall stay."""
        groups = [
            [*self.networks[a].parameters(), *self.networks[b].parameters()]
            for a, b in (("G_A", "G_B"), ("D_A", "D_B"))
        ]
        self.optimizers = [torch.optim.Adam(group, self.lr, (0.5, 0.999)) for group in groups]

    def step(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        """Train on a batch of either domain; the losses by the reference's names."""
        g_a, g_b, d_a, d_b = self.networks.values()
        optimizer_g, optimizer_d = self.optimizers
        fake_b = g_a(a)
        rec_a = g_b(fake_b)
        fake_a = g_b(b)
        rec_b = g_a(fake_a)
        require_gradients([d_a, d_b], False)
        optimizer_g.zero_grad()
        losses = {
            "idt_A": 5 * F.l1_loss(g_a(b), b),
            "idt_B": 5 * F.l1_loss(g_b(a), a),
            "G_A": to_target(F.mse_loss, d_a(fake_b), True),
            "G_B": to_target(F.mse_loss, d_b(fake_a), True),
            "cycle_A": 10 * F.l1_loss(rec_a, a),
            "cycle_B": 10 * F.l1_loss(rec_b, b),
        }
        torch.stack(list(losses.values())).sum().backward()
        optimizer_g.step()
        require_gradients([d_a, d_b], True)
        optimizer_d.zero_grad()
        for name, judge, real, fake, pool in (
            ("D_A", d_a, b, fake_b, self.pools[0]),
            ("D_B", d_b, a, fake_a, self.pools[1]),
        ):
            on_real = to_target(F.mse_loss, judge(real), True)
            on_fake = to_target(F.mse_loss, judge(pool.query(fake)), False)
            losses[name] = 0.5 * (on_real + on_fake)
            losses[name].backward()
        optimizer_d.step()
        return losses


class Pix2Pix:
    """One step: the discriminator, then the generator against it as it is then."""

    def __init__(self, generator: Callable[[], nn.Module], filters: int = 64, lr: float = 0.0002) -> None:
        self.networks = {"G": generator(), "D": PatchGAN(6, filters, "batch")}
        initialize(*self.networks.values())
        self.lr = lr

    def start(self) -> None:
        """Make the optimisers, once the networks are where they shall stay."""
        self.optimizers = [torch.optim.Adam(n.parameters(), self.lr, (0.5, 0.999)) for n in self.networks.values()]

    def step(self, a: Tensor, b: Tensor) -> dict[str, Tensor]:
        """Train on a batch of pairs; the losses by the reference's names."""
        g, d = self.networks.values()
        optimizer_g, optimizer_d = self.optimizers
        objective = F.binary_cross_entropy_with_logits
        fake = g(a)
        require_gradients([d], True)
        optimizer_d.zero_grad()
        losses = {"D_fake": to_target(objective, d(torch.cat([a, fake], 1).detach()), False)}
        losses["D_real"] = to_target(objective, d(torch.cat([a, b], 1)), True)
        (0.5 * (losses["D_fake"] + losses["D_real"])).backward()
        optimizer_d.step()
        require_gradients([d], False)
        optimizer_g.zero_grad()
        losses["G_GAN"] = to_target(objective, d(torch.cat([a, fake], 1)), True)
        losses["G_L1"] = 100 * F.l1_loss(fake, b)
        (losses["G_GAN"] + losses["G_L1"]).backward()
        optimizer_g.step()
        return losses


class DigitGAN:
    """One step of a class-conditional DCGAN: the discriminator, then the generator."""

    optimizers: list[torch.optim.Adam]

    def __init__(self, lr: float = 0.0002) -> None:
        self.networks = {"G": DigitGenerator(), "D": DigitDiscriminator()}
        initialize(*self.networks.values())
        self.lr = lr

    start = Pix2Pix.start

    def step(self, real: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Train on a batch of images and their classes."""
        g, d = self.networks.values()
        optimizer_g, optimizer_d = self.optimizers
        objective = F.binary_cross_entropy_with_logits
        fake = g(torch.randn(len(real), 100, device=real.device), label)
        require_gradients([d], True)
        optimizer_d.zero_grad()
        losses = {"D_fake": to_target(objective, d(fake.detach(), label), False)}
        losses["D_real"] = to_target(objective, d(real, label), True)
        (losses["D_fake"] + losses["D_real"]).backward()
        optimizer_d.step()
        require_gradients([d], False)
        optimizer_g.zero_grad()
        losses["G_GAN"] = to_target(objective, d(fake, label), True)
        losses["G_GAN"].backward()
        optimizer_g.step()
        return losses


def translate(generator: nn.Module, files: list[Path], folder: Path, size: int, device: str = "cpu") -> None:
    """Translate the files one by one and write every input and result as a PNG, as the reference's test.py does."""
    for file in files:
        image = Image.open(file).convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1).float().div(255)
        batch = ((pixels - 0.5) / 0.5)[None].to(device)
        with torch.no_grad():
            fake = generator(batch)
        for label, result in (("real_A", batch), ("fake_B", fake)):
            values = (result[0].cpu().float().numpy().transpose(1, 2, 0) + 1) / 2 * 255
            Image.fromarray(values.astype(np.uint8)).save(folder / f"{file.stem}_{label}.png")


def main(name: str, weights: str, images: str, results: str, size: str, device: str) -> None:
    """Translate a folder of JPEG files; dropout and BatchNorm work as in training, which is the reference's default."""
    generator = GENERATORS[name]()
    generator.load_state_dict(torch.load(weights, weights_only=True))
    Path(results).mkdir(parents=True, exist_ok=True)
    translate(generator.to(device), sorted(Path(images).glob("*.jpg")), Path(results), int(size), device)


if __name__ == "__main__":
    main(*sys.argv[1:])
