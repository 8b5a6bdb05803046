"""Orchestrators, one per file."""
