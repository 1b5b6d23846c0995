"""A user who edits Deployments at random, one after the other, without an end.

Run as `python -m tests.support.writer NAMESPACE SEED` until a line on its standard input; then it
prints the edits as JSON: by Deployment, the JSON patches that the API server took.
"""

import asyncio
import json
import random
import sys
from collections import defaultdict
from typing import Any

from sidecarpolicy.cluster.api import Api
from sidecarpolicy.cluster.connection import connect
from sidecarpolicy.cluster.outcome import Result
from sidecarpolicy.cluster.resources import DEPLOYMENTS

JSON = dict[str, Any]
_WORKERS = 2
_PAUSE_SECONDS = 0.02
"""So that those who answer the edits have a turn, too, on a machine with few cores."""
_CONTAINER = "/spec/template/spec/containers/0"


def edit(dice: random.Random, number: int) -> JSON:
    """One operation, which holds whatever else is in the object."""
    return dice.choice(
        (
            {"op": "replace", "path": f"{_CONTAINER}/image", "value": f"own:{number}"},
            {
                "op": "add",
                "path": f"{_CONTAINER}/env/-",
                "value": {"name": f"OWN_{number}", "value": "1"},
            },
            {"op": "replace", "path": "/spec/replicas", "value": dice.choice((0, 0, 0, 1))},
            {
                "op": "add",
                "path": f"/spec/template/metadata/annotations/own-{number}",
                "value": "1",
            },
            {"op": "add", "path": f"/metadata/annotations/own-{number}", "value": "1"},
        )
    )


async def write(namespace: str, seed: str) -> dict[str, list[JSON]]:
    """Edits one Deployment after the other until it is told to stop."""
    dice, done, stop = random.Random(seed), defaultdict[str, list[JSON]](list), asyncio.Event()
    async with connect() as connection:
        api = Api(connection)
        listed = await api.list_all(
            DEPLOYMENTS, namespace=namespace, keep=lambda obj: obj["metadata"]["name"]
        )

        async def work(names: list[str]) -> None:
            number = 0
            while not stop.is_set():
                name, number = names[number % len(names)], number + 1
                operation = edit(dice, number)
                answer = await api.patch_json(
                    DEPLOYMENTS, [operation], name=name, namespace=namespace
                )
                assert answer.result in (Result.DONE, Result.CONFLICT), answer
                if answer.done:
                    done[name].append(operation)
                await asyncio.sleep(_PAUSE_SECONDS)

        workers = [
            asyncio.create_task(work(list(listed.items[at::_WORKERS]))) for at in range(_WORKERS)
        ]
        print("writing", flush=True)  # noqa: T201
        await asyncio.to_thread(sys.stdin.readline)
        stop.set()
        await asyncio.gather(*workers)
    return done


if __name__ == "__main__":
    print(json.dumps(asyncio.run(write(sys.argv[1], sys.argv[2]))))  # noqa: T201
