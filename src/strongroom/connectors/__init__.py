"""Ways to log in to what others run: one file per service, one class per authentication method."""
