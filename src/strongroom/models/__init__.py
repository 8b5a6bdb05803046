"""The nouns: frozen models that cross every boundary, one file per noun."""
