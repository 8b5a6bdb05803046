"""The audit trail: who did what, in a chain that shows when somebody changed it."""
