"""Other ways to compute what torch's layers compute: the same within rounding, faster for some layouts and sizes."""

import torch
import torch.nn.functional as F
from torch import Tensor


def is_channels_last(x: Tensor) -> bool:
    """Tell whether (N, C, H, W) lies in memory as N, H, W, C; one channel has no layout and counts as NCHW.

    A view whose batch of one has another stride than a fresh tensor's does not count either: torch's kernels disagree
    on what it is, and `F.batch_norm` then gives wrong gradients on the CPU.
    """
    fresh = x.stride(0) == x.shape[1:].numel() and x.stride(3) > 1
    return fresh and x.is_contiguous(memory_format=torch.channels_last)


# padding


def reflect_pad(image: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Pad (N, C, H, W) by reflection without repeating the border, by any amount and for any size from 1x1.

    Beyond one reflection the image goes on periodically, with period 2 (n - 1). Under
    `torch.use_deterministic_algorithms` the pixels are gathered by index, for the CUDA gradient of `F.pad` is not
    deterministic.
    """
    height, width = image.shape[-2:]
    fits = max(left, right) < width and max(top, bottom) < height
    if fits and not torch.are_deterministic_algorithms_enabled():
        # Autocast would pad in fp32 on the CPU, which is two conversions and nothing more exact.
        with torch.autocast("cpu", enabled=False):
            if image.is_cuda and is_channels_last(image) and not torch.compiler.is_compiling():
                return reflect_pad_channels_last(image, left, right, top, bottom)
            return F.pad(image, (left, right, top, bottom), mode="reflect")
    rows = _reflected_index(height, top, bottom, image.device)
    columns = _reflected_index(width, left, right, image.device)
    return image.index_select(-2, rows).index_select(-1, columns)


def reflect_pad_channels_last(image: Tensor, left: int, right: int, top: int, bottom: int) -> Tensor:
    """Pad channels_last as a volume (H, W, C), for CUDA, whose padding of images gives and takes NCHW alone."""
    return F.pad(image.permute(0, 2, 3, 1), (0, 0, left, right, top, bottom), mode="reflect").permute(0, 3, 1, 2)


def _reflected_index(size: int, before: int, after: int, device: torch.device) -> Tensor:
    period = max(2 * (size - 1), 1)
    index = torch.arange(-before, size + after, device=device).remainder(period)
    return torch.minimum(index, period - index) if size > 1 else torch.zeros_like(index)


# norms


def instance_norm(x: Tensor, eps: float) -> Tensor:
    """Normalise each map of (N, C, H, W) to mean 0 and variance 1 (Ulyanov et al. 2016, arXiv 1607.08022).

    Keeps the layout, which torch's `F.instance_norm` does not, and takes the statistics in fp32. For CPU and CUDA.
    """
    if torch.compiler.is_compiling():
        return norm_by_formula(x, eps)
    channels_last = is_channels_last(x)
    if x.is_cpu and not channels_last:
        return _norm_by_groups(x, eps)
    if len(x) == 1:
        return norm_as_batch(x, eps)
    if x.is_cpu:
        return torch.cat([norm_as_batch(image, eps) for image in x.split(1)])
    return norm_by_formula(x, eps) if channels_last else F.instance_norm(x, eps=eps)


def norm_as_batch(image: Tensor, eps: float) -> Tensor:
    """Instance norm of a single image (1, C, H, W): over a batch of one, batch norm is the same."""
    scale, shift = _unit_scale(image)
    return F.batch_norm(image, None, None, scale, shift, training=True, eps=eps)


def norm_by_formula(x: Tensor, eps: float) -> Tensor:
    """Instance norm for compilers, which fuse it, and where nothing ready-made keeps the layout."""
    exact = x.float()  # once: two would be two gradients, which are rounded and only then added
    variance, mean = torch.var_mean(exact, dim=(2, 3), correction=0, keepdim=True)
    return ((exact - mean) * torch.rsqrt(variance + eps)).to(x.dtype)


def _norm_by_groups(x: Tensor, eps: float) -> Tensor:
    """Instance norm as a group norm of one channel a group; in channels_last its variance would be inexact."""
    scale, shift = _unit_scale(x)
    return F.group_norm(x, x.shape[1], scale, shift, eps=eps)


def _unit_scale(x: Tensor) -> tuple[Tensor, Tensor] | tuple[None, None]:
    """Scale 1 and shift 0 in fp32: beside these the CPU saves the statistics of bf16 maps in fp32, else in bf16."""
    if torch.finfo(x.dtype).bits >= 32 or x.is_cuda:
        return None, None
    return torch.ones(x.shape[1], device=x.device), torch.zeros(x.shape[1], device=x.device)


# convolutions: square kernels, the same stride and padding in both directions


def conv_size(x: Tensor, kernel_size: int, stride: int, padding: int) -> tuple[int, int]:
    """Height and width of the result of a convolution of (N, C, H, W)."""
    height, width = ((side + 2 * padding - kernel_size) // stride + 1 for side in x.shape[2:])
    return height, width


def conv_as_product(x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
    """Convolve (N, C, H, W) as one product of all patches with the weights; keeps the layout."""
    kernel_size = weight.shape[-1]
    size = conv_size(x, kernel_size, stride, padding)
    patches = F.unfold(x, kernel_size, padding=padding, stride=stride).transpose(0, 1).flatten(1)
    pixels = (weight.flatten(1) @ patches).unflatten(1, (len(x), *size)).transpose(0, 1)
    return _finish(pixels, bias, x)


def transposed_conv_as_product(
    x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int, output_padding: int
) -> Tensor:
    """Convolve (N, C, H, W) transposed: one product makes all patches, whose overlaps add up; keeps the layout."""
    kernel_size = weight.shape[-1]
    height, width = ((side - 1) * stride - 2 * padding + kernel_size + output_padding for side in x.shape[2:])
    patches = x.permute(0, 2, 3, 1).flatten(0, 2) @ weight.flatten(1)
    if x.shape[2:].numel() == 1 and (height, width) == (kernel_size, kernel_size) and padding == 0:
        return _finish(patches.unflatten(1, weight.shape[1:]), bias, x)  # a single patch, the result itself
    patches = patches.unflatten(0, (len(x), -1)).transpose(1, 2)
    pixels = F.fold(patches, (height, width), kernel_size, padding=padding, stride=stride)
    return _finish(pixels, bias, x)


def _finish(pixels: Tensor, bias: Tensor | None, x: Tensor) -> Tensor:
    """Add the bias and lay the result out like the input x; `contiguous` would leave the strides of a single pixel."""
    if bias is not None:
        pixels = pixels + bias.to(pixels.dtype)[:, None, None]
    return pixels.clone(memory_format=torch.channels_last if is_channels_last(x) else torch.contiguous_format)


def conv_by_blocks(x: Tensor, weight: Tensor, bias: Tensor | None, padding: int) -> Tensor:
    """Convolve (N, C, H, W) with stride 1 to an even size, four pixels at a time: they are channels until the end."""
    shifts = [(column, 1 - column, row, 1 - row) for row in (0, 1) for column in (0, 1)]
    shifted = torch.stack([F.pad(weight, shift) for shift in shifts], dim=1).flatten(0, 1)
    repeated = None if bias is None else bias.repeat_interleave(4)
    return F.pixel_shuffle(F.conv2d(x, shifted, repeated, stride=2, padding=padding), 2)
