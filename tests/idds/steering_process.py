"""iDDS as a process of its own, in its own environment: its search, its condor jobs and its REST view, asked in lines of JSON.

Its own classes do all that iDDS does for a scan. `ATLASHPOWork` decides when new points are made and with what, writes the job
and reads its answer. Its Bayesian search, a program of its own, makes the points; the one with Nevergrad does not run with the
Nevergrad of today, which refuses to say whether a parameter is true. The view `HyperParameterOpt` hands points out and takes
losses, through its URLs. What is not iDDS's: the catalogue (a list in place of the database), the carrier that asks the work, and
`condor_submit` and `condor_q`, which run a job at once and know it as done.

    {"ask": "step"}                          -> {"over": false}
    {"ask": "get", "id": "1"}                -> {"status": 200, "body": [...]}
    {"ask": "put", "id": "1", "loss": "0.5"} -> {"status": 200, "body": {...}}
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

SEARCH = "hyperparameteropt_bayesian.py"
CONDOR = {
    "condor_submit": """#!/bin/bash
directory=$(sed -n 's/^initialdir *= *//p' "$1")
program=$(sed -n 's/^Executable *= *//p' "$1")
sed -n 's/^+Processing_id = "\\(.*\\)"/\\1/p' "$1" > "$HOME/processing"
cd "$directory" && env -i HOME="$HOME" PATH="$HOME:/usr/bin:/bin" "$program" > job.out 2> job.err
echo "1 job(s) submitted to cluster 7."
""",
    "condor_q": """#!/bin/bash
printf '7 %s 4 /nowhere /nowhere /nowhere' "$(cat "$HOME/processing")"
""",
}


class Catalogue:
    """Stands for iDDS's database: the output contents of one request."""

    def __init__(self) -> None:
        self.contents: list[dict[str, Any]] = []

    def get_contents(self, **_: Any) -> list[dict[str, Any]]:
        return self.contents

    def get_contents_by_coll_id_status(self, **_: Any) -> list[dict[str, Any]]:
        return self.contents

    def update_content(self, content_id: int, parameters: dict[str, Any]) -> None:
        self.contents[content_id].update(parameters)


def program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


class Steering:
    """One scan in iDDS. `python` runs its search."""

    def __init__(self, home: Path, python: str, space: dict[str, Any], max_points: int, batch: int) -> None:
        for name, text in CONDOR.items():
            program(home / name, text)
        os.environ.update(HOME=str(home), PATH=f"{home}:{os.environ['PATH']}")

        import flask
        from idds.atlas import processing
        from idds.atlas.workflowv2.atlashpowork import ATLASHPOWork
        from idds.common.constants import ContentStatus, WorkStatus
        from idds.core import catalog
        from idds.rest.v1 import hyperparameteropt
        from idds.workflowv2.work import Processing

        search = Path(next(iter(processing.__path__))) / SEARCH
        program(home / SEARCH, f'#!/bin/bash\nexec {python} {search} "$@"\n')
        self.catalogue = Catalogue()
        for name in ("get_contents", "get_contents_by_coll_id_status", "update_content"):
            setattr(catalog, name, getattr(self.catalogue, name))
        self._new, self._finished, self._failed = ContentStatus.New, WorkStatus.Finished, WorkStatus.Failed
        arguments = "--max_points=%MAX_POINTS --num_points=%NUM_POINTS --input=%IN --output=%OUT"
        self.work = ATLASHPOWork(
            method="container",
            executable=SEARCH,
            arguments=arguments,
            opt_space=space,
            max_points=max_points,
            num_points_per_iteration=batch,
            agent_attributes={"atlashpowork": {"workdir": str(home)}},
        )
        self.work.set_workdir(str(home))
        made = self.work.create_processing(None)
        assert isinstance(made, Processing)
        self._processing = {
            "request_id": 1,
            "workload_id": 1,
            "processing_id": 1,
            "processing_metadata": {"processing": made},
        }
        for collection in self.work.collections.values():
            collection.coll_id = 1
        app = flask.Flask("idds")
        app.register_blueprint(hyperparameteropt.get_blueprint())
        self._rest = app.test_client()

    def step(self) -> dict[str, Any]:
        """What iDDS's carrier does every few minutes."""
        maps = {number: {"outputs": [content]} for number, content in enumerate(self.catalogue.contents, start=1)}
        if self.work.status not in (self._finished, self._failed):
            _, _, new, *_ = self.work.poll_processing_updates(self._processing, maps)
            for each in new.values():
                (content,) = each["outputs"]
                self.catalogue.contents.append({**content, "content_id": len(self.catalogue.contents), "status": self._new})
        return {
            "over": self.work.status in (self._finished, self._failed),
            "ids": [content["name"] for content in self.catalogue.contents],
        }

    def get(self, point_id: str) -> dict[str, Any]:
        return self._answer(self._rest.get(f"/hpo/1/null/{point_id}/null/null"))

    def put(self, point_id: str, loss: str) -> dict[str, Any]:
        return self._answer(self._rest.put(f"/hpo/1/null/{point_id}/{loss}"))

    def _answer(self, response: Any) -> dict[str, Any]:
        return {"status": response.status_code, "body": json.loads(response.get_data(as_text=True) or "null")}


def main() -> None:
    """Answer until nobody asks any more. What iDDS prints is no answer."""
    answers, sys.stdout = sys.stdout, sys.stderr
    settings = json.loads(sys.argv[1])
    steering = Steering(Path(settings.pop("home")), **settings)
    for line in sys.stdin:
        asked = json.loads(line)
        match asked.pop("ask"):
            case "step":
                answer = steering.step()
            case "get":
                answer = steering.get(asked["id"])
            case _:
                answer = steering.put(asked["id"], asked["loss"])
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
