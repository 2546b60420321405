"""The payload `athenamp`: AthenaMP in event-service mode, fed over its own channel. See `payload`."""

from raythena.payloads.athenamp.athenamp_payload import PLUGIN, AthenaMPPayload

__all__ = ["PLUGIN", "AthenaMPPayload"]
