"""Which kernels a target models. Imports no side, so that bad usage is told before anything compiles."""

from mm.version import VERSIONS

from .case import CaseError


def check_kernel(target: str, kernel: str) -> None:
    """Refuse a kernel that the built-in batched side does not model (CaseError)."""
    if not VERSIONS[kernel].batched and (target == "batched" or target.startswith("zoo:")):
        known = ", ".join(name for name, v in VERSIONS.items() if v.batched)
        raise CaseError(f"kernel {kernel} does not batch; target {target} models {known}")
