"""A process of one variant. Reads `["scenario", calls]` a line, and answers with the CPU microseconds a call.

python worker.py VARIANT
python worker.py VARIANT SCENARIO=CALLS …     under callgrind: marks where the calls begin and end
"""

from __future__ import annotations

import gc
import json
import os
import sys
from time import process_time

import scenarios
import variants


def main(name: str, counted: list[str]) -> None:
    variant = variants.enter(name)
    runs: dict[str, scenarios.Run] = {}

    def run(scenario: str, calls: int) -> float:
        if scenario not in runs:
            runs[scenario] = scenarios.build(scenario, variant)
            gc.collect()
            gc.freeze()  # what other scenarios keep must not slow this one down
        began = process_time()
        own = runs[scenario](calls)
        took = process_time() - began if own is None else own
        return took / calls * 1e6

    for each in counted:
        scenario, _, calls = each.rpartition("=")
        run(scenario, max(2, int(calls) // 4))
        os.getppid()  # callgrind dumps its counters at each call of this function
        run(scenario, int(calls))
        os.getppid()
    if not counted:
        for line in sys.stdin:
            print(json.dumps(run(*json.loads(line))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
