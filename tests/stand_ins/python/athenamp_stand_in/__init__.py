"""A stand-in for a simulation transform that runs AthenaMP in event-service mode; see `README.md` beside `bin`."""
