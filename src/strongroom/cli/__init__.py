"""The command line: one file per noun, loaded when one of its commands runs."""
