"""Random schedules of faults under a random workload, and a checker of what was seen. See `docs/internals/faults.md`."""
