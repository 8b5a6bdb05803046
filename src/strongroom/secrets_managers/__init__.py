"""The deprecated secrets managers: one file for each back end, and the way out of them."""
