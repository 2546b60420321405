"""Where jobs and event ranges come from, and where news of them go: job files, PanDA, Harvester."""
