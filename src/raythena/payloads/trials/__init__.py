"""Payload `trial`: one point of a hyper-parameter scan after the other, by a Python function or a program."""

from raythena.payloads.trials.trial_payload import PLUGIN

__all__ = ["PLUGIN"]
