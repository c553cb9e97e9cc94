"""The compiled entry points of each architecture: one file each, imported when asked for."""
