"""Side-by-side comparison of strongroom with other tools and with bare baselines; started by `bench/run`."""
