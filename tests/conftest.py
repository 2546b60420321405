"""For all tests: what a test starts must react to Ctrl-C, also when the tests themselves were started in the background."""

import signal

# A shell starts background jobs with SIGINT ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
