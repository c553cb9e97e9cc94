"""The guided engine: keeps the cases that show a new feature, and mutates them.

`corpus` holds what was kept, `mutations` and `splice` change a case, a module for
each architecture compiles them, `loop` is the campaign's hot loop, `engine` has
the arrays and functions of one process, as `fuzz.hunter` has for random cases.
"""
