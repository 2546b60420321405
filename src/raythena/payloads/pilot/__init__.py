"""Payload `pilot`: a real PanDA pilot on the node, which runs AthenaMP and believes to talk to PanDA.

    pilot_options   the payload section of a job
    release         which pilot that is, and whether it can do the work
    queues          the queue and the endpoints it is told of
    pilot_job       the job it is given
    launch          directory, configuration, environment and command of a pilot
    start           the small process between our process guard and the pilot
    wire            what a request says, whichever dialect it speaks
    range_queue     which ranges the node holds, and where each of them is
    panda_server    what the pilot is answered: the server without its sockets
    server          the sockets
    pilotlog        what the pilot's own log says of events before anybody else does
    running         one pilot, from its start to its end
    pilot_end       when a pilot should be ended, and why
    output_staging  outputs and failures it tells of: checked, staged, told to the agent
    salvage         finished files of a pilot that is gone
    recovery        finished files of an agent that is gone
    run_times       where the time goes
    pilot_account   the account for the job report
    pilot_payload   the plug-in

`wire`, `range_queue`, `panda_server`, `pilot_end` and `run_times` do no input or output and take the time as an argument.
"""
