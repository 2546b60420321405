"""PanDA's jobs through Harvester's shared-file messenger: one batch job, one directory, files written and read in turns.

    config         names of the files, as the site has set them
    documents      what is in them
    desks          what to do next, decided without touching a disk
    access_point   the disk
    messenger      desks and disk together, one turn at a time
    jobs           where the job comes from
    books          which outputs of an on-site-merging job may be handed over
    gateway        the plug-in the coordinator runs
    logs           the log archive
    last_word      what PanDA is told in the end, and the exit code

`docs/harvester.md` is the guide for sites.
"""
