"""What authors of plug-ins run against their own work, and the simulator the engine is tested in."""
