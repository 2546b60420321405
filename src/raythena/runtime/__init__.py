"""The shell around the engine: Ray actors, clocks, processes. It carries out; it does not decide."""
