"""Secrets stores."""
