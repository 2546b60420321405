"""A payload whose outputs are ROOT files that are not all what a merger needs.

`kind` of the options: `number` (event → entries of its tree `HITS`, 1 if left out), or `copy` (a file every event copies).
"""

import shutil
import time

import numpy as np
import uproot


def setup(options):
    return options


def process(event_range, context):
    output = context.new_output(".root")
    if "copy" in context.state:
        time.sleep(0.2)  # all of them would take minutes: the first ones are looked at long before
        shutil.copyfile(context.state["copy"], output)
        return output
    number = event_range.first_event
    entries = context.state["entries"].get(str(number), 1)
    with uproot.recreate(output) as file:
        made = file.mkrntuple("HITS", {"EventNumber": "int64"})  # as an assignment would make it, but for 0 entries too
        if entries:
            made.extend({"EventNumber": np.full(entries, number)})
        file["energy"] = np.histogram([number], bins=4, range=(0, 40))
    return output
