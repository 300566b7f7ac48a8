"""The environment of a record: versions, processor and GPU."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import re
from pathlib import Path

import msgspec

_FIRST_CORE = Path("/sys/devices/system/cpu/cpu0")
_BUILT_WITH = {"BLAS ": r"BLAS_INFO=(\w+)", "MKL-DNN ": r"MKL-DNN (v[\d.]+)", "OpenMP ": r"OpenMP (\d+)"}


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The machine and the versions with which a record was made.

    `processor` includes the caches and the governor. `clock` is the highest frequency of the first core: "3700 MHz". `build` names the
    libraries that torch was built with and the instructions that it uses: "BLAS mkl, MKL-DNN v3.7.1, OpenMP 201511, AVX512". A field is
    "" if the system, or an older record, does not tell.
    """

    opjury: str
    python: str
    torch: str
    numpy: str
    scipy: str
    machine: str
    processor: str = ""
    device: str = ""
    clock: str = ""
    build: str = ""

    @property
    def versions(self) -> dict[str, str]:
        """The versions that results depend on."""
        return {name: getattr(self, name) for name in ("opjury", "python", "torch", "numpy", "scipy")}


@functools.cache
def environment() -> Environment:
    """The environment of this process."""
    import torch

    def version(package: str) -> str:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return "source checkout" if package == "opjury" else "absent"

    clock = ""
    with contextlib.suppress(OSError, ValueError):
        clock = f"{int((_FIRST_CORE / 'cpufreq' / 'cpuinfo_max_freq').read_text()) / 1000:.0f} MHz"
    told = torch.__config__.show()
    build = [name + match[1] for name, pattern in _BUILT_WITH.items() if (match := re.search(pattern, told))]
    return Environment(
        python=platform.python_version(),
        **{package: version(package) for package in ("opjury", "torch", "numpy", "scipy")},
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        processor=_processor(),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else "",
        clock=clock,
        build=", ".join([*build, torch.backends.cpu.get_cpu_capability()]),
    )


def _processor() -> str:
    """The processor's name, caches and governor, as far as Linux tells: "EPYC 9R14; L1 32K, L2 1M, L3 32M; performance"."""
    told = []
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        told += [line.partition(":")[2].strip() for line in lines if line.startswith("model name")][:1]
    with contextlib.suppress(OSError):
        caches = {}
        for index in sorted((_FIRST_CORE / "cache").glob("index*")):
            caches[(index / "level").read_text().strip()] = (index / "size").read_text().strip()
        told += [", ".join(f"L{level} {size}" for level, size in caches.items())]
    with contextlib.suppress(OSError):
        told += [(_FIRST_CORE / "cpufreq" / "scaling_governor").read_text().strip()]
    return "; ".join(filter(None, told))
