"""``python -m tests.benchmarks``: measure, and write the table and the figure."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from service.runtime.malloc import keep_tidy
from tests.benchmarks import first_blocks, jobs, networks, report, roofline, serving, volumes
from tests.benchmarks.scale import FULL, QUICK

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all comparisons and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that all of it runs, and no more")
    parser.add_argument("--threads", type=int, default=1, help="of each computation (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: beside this file)")
    parser.add_argument("--remark", default="", help="what else a reader has to know, to stand under the machine")
    options = parser.parse_args(arguments)
    keep_tidy()  # as the service does, so that allocators are not what is compared
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.allow_tf32 = False  # our frozen networks do not use it either
    torch.manual_seed(0)
    scale = QUICK if options.quick else FULL
    rows = []
    for module in (networks, volumes, serving, first_blocks, jobs):
        for row in module.measure(scale):
            print(f"{row.section}: {row.ours} beside {row.other}: {row.ratio or row.note}", flush=True)  # noqa: T201
            rows.append(row)
    report.write(options.out, rows, roofline.measure(scale), remark=options.remark)
    print(f"wrote {options.out / 'BENCH.md'} and {options.out / 'BENCH.png'}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
