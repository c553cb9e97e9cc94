"""What a guest needs and this machine has not."""


class Absent(Exception):
    """Something that booting a guest needs is not there: one line with what it is and what would help."""
