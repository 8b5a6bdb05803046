"""The verbs as data: one row per operation, one file per noun."""
