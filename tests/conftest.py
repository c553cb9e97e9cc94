"""Hypothesis as the tests use it: the same examples in each run, on each machine.

`--hypothesis-profile search` looks for new ones instead.
"""

import os

# Single rules can be called in interpreted mode only (mm.jit); what is compiled is
# run in processes of its own. Set before anything imports `mm`.
os.environ["MIDFOLIO_MODE"] = "interpreted"

from hypothesis import settings

# No database: an example that a run of long ago left behind must not decide this one.
settings.register_profile("pinned", derandomize=True, database=None, deadline=None)
settings.register_profile("search", database=None, deadline=None, max_examples=2000)
settings.load_profile("pinned")
