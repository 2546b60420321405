"""The payload `athenamp`: AthenaMP in event-service mode, fed over its own channel. See `payload`."""

from raythena.payloads.athenamp.payload import PLUGIN, AthenaMPPayload

__all__ = ["PLUGIN", "AthenaMPPayload"]
