"""For all tests: what a test starts must react to Ctrl-C, and how long an example takes says nothing about it."""

import signal

from hypothesis import settings

# A shell starts background jobs with SIGINT ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# On top of the profile Hypothesis took by itself: where CI is set, that one makes the same examples every time.
settings.register_profile("untimed", settings(deadline=None))
settings.load_profile("untimed")
