"""The relation on arm64, whose entries are folded into contpte blocks."""
