"""Payload `pilot`: a real PanDA pilot on the node, which runs AthenaMP and believes to talk to PanDA.

    wire      what a request says, whichever dialect it speaks
    queue     which ranges the node holds, and where each of them is
    desk      what the pilot is answered: the server without its sockets
    server    the sockets
    options   the payload section of a job
    release   which pilot that is, and whether it can do the work
    launch    directory, configuration, environment and command of a pilot
    start     the small process between our process guard and the pilot
    pilotlog  what the pilot's own log says of events before anybody else does
    salvage   finished files of a pilot that is gone
    recovery store     finished files of an agent that is gone
    latency   where the time goes
    payload   the life of it all: the plug-in

`wire`, `range_queue`, `panda` and `latency` do no input or output and take the time as an argument.
"""
