"""What the peers share: how a figure is taken, and how a driver asks for one.

A peer is a process that reads one JSON request a line from standard input and answers each with one
JSON line on standard output, so that a driver can take turns between peers within one run:

    {"what": "describe"}
        -> {"peer", "version", "threads", "measures": [[model, mode, what], ...]}
    {"model": "efficient", "mode": "graph", "what": "train_step", "seconds": 1.0}
        -> {"peer", "model", "mode", "what", "min_ms", "median_ms", "runs"}
    a request that fails -> the request with "error"

`what` is `train_step` (batch 128: forward, loss, backward, optimiser, the loss read back),
`predict_batch` (128 samples) or `predict_one` (1 sample), inference mode, the answer read back. What
was built for one request stays for the next of its kind.
"""

import argparse
import json
import os
import statistics
import sys
import time

import numpy as np

BATCH = 128
#: Different batches used in turn, each its own buffer, so that no step finds its input in a cache.
BUFFERS = 8
WHATS = ("train_step", "predict_batch", "predict_one")
#: Input shape of one sample (channels last), classes, parameters: moving statistics count too.
MODELS = {
    "parallel": ((80, 80, 1), 8, 61_071),
    "cnn-rnn": ((80, 80), 8, 100_654),
    "efficient": ((80, 80, 1), 8, 97_896),
    "accurate": ((80, 80, 1), 8, 320_936),
    "window": ((5, 128), 10, 1_650_442),
}


def problem(model, rows):
    """`BUFFERS` batches of random `(input, class index)`, channels last."""
    shape, classes, _ = MODELS[model]
    rng = np.random.default_rng(0)
    return [
        (
            rng.standard_normal((rows, *shape), dtype=np.float32),
            rng.integers(0, classes, rows).astype(np.int64),
        )
        for _ in range(BUFFERS)
    ]


def rows_of(what):
    return 1 if what == "predict_one" else BATCH


def measure(run, seconds):
    """Milliseconds of `run(i)`, i = 0, 1, ...: three calls untimed, then for `seconds`, 3 at least."""
    for i in range(3):
        run(i)
    times, i, end = [], 3, time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        result = run(i)
        times.append((time.perf_counter() - start) * 1e3)
        i += 1
    if not np.isfinite(result).all():
        raise ArithmeticError("the last result is not finite: the time means nothing")
    return {
        "min_ms": round(min(times), 4),
        "median_ms": round(statistics.median(times), 4),
        "runs": len(times),
    }


def main(peer, version, threads, measures, prepare):
    """Serves standard input, or, with arguments, takes the figures they name.

    `measures`: the `(model, mode, what)` this peer offers. `prepare(model, mode, what)` gives the
    function `run(i)` that does one step or prediction on buffer `i` and returns loss or answer.
    """
    parser = argparse.ArgumentParser(description=f"Times {peer} on the five models.")
    parser.add_argument("--model", choices=MODELS)
    parser.add_argument("--mode")
    parser.add_argument("--what", choices=WHATS)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--once", action="store_true", help="all that fits the options, then leave")
    options, _ = parser.parse_known_args()

    # Libraries print to standard output at will: the answers keep it for themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    ready = {}

    def answer(request):
        if request.get("what") == "describe":
            return {"peer": peer, "version": version, "threads": threads, "measures": measures}
        key = (request["model"], request["mode"], request["what"])
        if key not in measures:
            raise ValueError(f"{peer} offers no {' '.join(key)}")
        if key not in ready:
            ready[key] = prepare(*key)
        figures = measure(ready[key], float(request.get("seconds", 1.0)))
        return {"peer": peer, **dict(zip(("model", "mode", "what"), key)), **figures}

    def tell(request):
        try:
            line = answer(request)
        except Exception as error:  # one mode that fails must not end the others' run
            line = {"peer": peer, **request, "error": f"{type(error).__name__}: {error}"[:500]}
        print(json.dumps(line), file=answers, flush=True)

    if options.once or options.model or options.mode or options.what:
        for model, mode, what in measures:
            wanted = (options.model, options.mode, options.what)
            if all(w is None or w == h for w, h in zip(wanted, (model, mode, what))):
                tell({"model": model, "mode": mode, "what": what, "seconds": options.seconds})
        return
    for line in sys.stdin:
        if line.strip():
            tell(json.loads(line))
