"""Centralized secrets management for machine-learning pipelines."""
