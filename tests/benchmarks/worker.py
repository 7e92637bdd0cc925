"""A process of one variant. Reads `["scenario", calls]` a line; answers µs of CPU a call, or the scenario's figure.

python -m tests.benchmarks.worker VARIANT
python -m tests.benchmarks.worker VARIANT SCENARIO=CALLS …     under callgrind: marks where the calls begin and end
"""

from __future__ import annotations

import gc
import json
import os
import sys
from time import process_time

from tests.benchmarks import scenarios, variants


def main(name: str, counted: list[str]) -> None:
    variant = variants.enter(name)
    runs: dict[str, scenarios.Run] = {}

    def run(scenario: str, calls: int) -> float:
        if scenario not in runs:
            runs[scenario] = scenarios.build(scenario, variant)
            gc.collect()
            gc.freeze()  # what other scenarios keep must not slow this one down
        began = process_time()
        figure = runs[scenario](calls)
        return (process_time() - began) / calls * 1e6 if figure is None else figure

    for each in counted:
        scenario, _, calls = each.rpartition("=")
        run(scenario, max(2, int(calls) // 4))
        os.getppid()  # callgrind dumps its counters at each call of this function
        run(scenario, int(calls))
        os.getppid()
    if not counted:
        for line in sys.stdin:
            print(json.dumps(run(*json.loads(line))), flush=True)
    os._exit(0)  # the requests of scenarios stay open: nothing may try to close them now


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
