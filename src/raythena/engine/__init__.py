"""The decisions: events in, commands out, on a clock that is handed in. No input, no output."""
