"""What stands in the window of a random case: folios, and the entries that map them."""
