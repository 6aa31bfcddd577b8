"""Shows probes' results, one line of JSON each on standard input, as a table. Exits with 1 if one failed, or none ran."""

import json
import sys
from collections import Counter

ROW = "{:<6} {:<16} {:>6}  {:<58} {}"


def main() -> int:
    passed, failed = Counter(), Counter()
    print(ROW.format("", "client", "s", "probe", ""), flush=True)
    for line in sys.stdin:
        result = json.loads(line)
        (passed if result["ok"] else failed)[result["client"]] += 1
        seconds = "" if result["seconds"] is None else f"{result['seconds']:.1f}"
        probe = result["probe"].replace("_", " ")
        verdict = "pass" if result["ok"] else "FAIL"
        print(ROW.format(verdict, result["client"], seconds, probe, result["detail"]).rstrip(), flush=True)
    print()
    for client in sorted(passed | failed):
        print(f"{client:<16} {passed[client]:>4} of {passed[client] + failed[client]}")
    return 0 if passed and not failed else 1


if __name__ == "__main__":
    sys.exit(main())
