"""What a program imports to compute events in Python: the client of the event-server protocol, with the standard library only.

    from raythena.client import EventServer

    for event in EventServer():
        path = event.new_output(".dat")
        path.write_bytes(simulate(event.pfn, event.first, event.last))
        event.done(path)

`docs/event-server-protocol.md` says all about it. The file behind it may be copied into programs that cannot install Raythena.
"""

from raythena.payloads.workers.event_server import Event, EventServer, bundled

__all__ = ["Event", "EventServer", "bundled"]
