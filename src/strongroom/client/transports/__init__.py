"""How calls travel: one way per module, all with the interface in `base`."""
