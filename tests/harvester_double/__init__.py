"""Harvester's shared-file messenger and PanDA behind it, as far as a worker can see them, with every known race to switch on.

`HarvesterDouble` does, on a clock it is handed, what Harvester's agents do to one access point; `PandaDouble` keeps the truth
about events, files and the job, and refuses what PanDA would refuse. Whatever a worker does wrong is put down in `complaints`.

Left out: submission and the batch system (a test starts and ends workers), stage-in, real transfers (a staged file is compared
with what was said of it, and remembered), several jobs in one worker, Harvester's database (only what is lost in it), HTTP.
"""

from harvester_double.double import HarvesterDouble as HarvesterDouble
from harvester_double.double import Races as Races
from harvester_double.panda import PandaDouble as PandaDouble
