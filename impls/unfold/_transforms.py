"""Fourier transforms of images, along one dimension after the other.

Those of both at once, `torch.fft.fft2`, write beyond their memory with MKL 2024.2 on some processors (seen with AVX-512): where the
batches of a complex tensor are interleaved in memory, as after a permutation, and a side has two hundred elements or more.
"""

import torch


def spectrum(images, size):
    """The transform of images (..., h, w) as if padded with zeros to `size`, and of real ones the half that tells all."""
    along_rows = torch.fft.fft if images.is_complex() else torch.fft.rfft
    return torch.fft.fft(along_rows(images, size[1]), size[0], dim=-2)


def images_of(spectra, size, *, real):
    """The images (..., *size) of spectra."""
    along_rows = torch.fft.irfft if real else torch.fft.ifft
    return along_rows(torch.fft.ifft(spectra, size[0], dim=-2), size[1])
