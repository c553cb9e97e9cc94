"""What a lane needs and this machine does not give: one line each."""


class LaneMissing(Exception):
    """A lane (the running kernel, a guest) cannot run here; says what lacks, in one line, and what would help."""
