"""The features of cases of powerpc, compiled for a campaign's loop."""

from mm.jit import entry

from ..handle import workspace_of
from ..words.powerpc import WORDS
from .rules import find_features, numba_features


@entry(numba_features)
def features(handle, out):
    """Fill `out` with the features of the judged case; how many they are."""
    return find_features(WORDS, workspace_of(handle), out)
