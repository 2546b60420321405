"""The demo: real collisions, a fast simulation, its merge, its reconstruction and its proof. Needs the extra `demo`."""
