"""The mutants of the zoo: data only. See `harness.zoo`. The historical one comes first."""

from . import arm64, powerpc, softleaf, walk, x86_64

MUTANTS = (*walk.MUTANTS, *softleaf.MUTANTS, *x86_64.MUTANTS, *arm64.MUTANTS, *powerpc.MUTANTS)
