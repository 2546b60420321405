"""Real Slurm on one machine, for tests: a controller and several nodes, each with its own network, processes and `/tmp`."""
