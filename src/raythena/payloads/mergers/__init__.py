"""Mergers: how the outputs of many event ranges become one file."""
