"""Corpus minimization: the fewest files that still bring every feature and kill every mutant.

`cover` chooses, exactly; `kills` asks whether a case kills a mutant; `jury` does
so for many cases in several processes; `minimize` lets the one ask the other.
"""
