"""What `midfolio live` needs and this machine does not give: one line each."""


class LaneMissing(Exception):
    """Something that the live kernel is read or driven by is not here; says what, in one line."""
