"""Encryption at rest: bytes in, bytes out."""
