"""The generator of each architecture: `generate(choices, state, seed, index)`."""

from . import x86_64

GENERATE = {"x86_64": x86_64.generate_case}
