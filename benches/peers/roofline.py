"""How near to this machine's limits a training step is: `sonograd bench --json | python roofline.py --bandwidth GB_PER_S`.

Two counts of the arithmetic of a step, from the models' shapes:

- dense: forward, the weights' gradient and the input's gradient in full, the last not for the first layer;
- sparse: behind a max-pool only as many gradients as the pool has outputs can be other than zero (in fact fewer: neighbouring
  windows may choose the same pixel).

and the bytes that have to be moved if no cache outlives a step's pass: the input once; what forward keeps for backward (pooled
maps, a byte a pooled value, an LSTM's gates, cells and states) written and read; weights read forward and backward, their
gradients written and read, the optimiser's state read and written.

The limits are the rate of a product in the first-level cache (`peak_gflops`, times the threads) and the bandwidth given; without
--bandwidth it is measured as a copy by numpy.
"""

import argparse
import json
import sys
import threading
import time

F32 = 4


def convolution(inputs, channels, kernel, filters, outputs, pooled=None, first=False):
    """FLOP dense and sparse, and bytes kept; extents as (height, width)."""
    positions = outputs[0] * outputs[1]
    flop = 2 * positions * kernel[0] * kernel[1] * channels * filters
    left = pooled[0] * pooled[1] if pooled else positions
    gradients = 1 if first else 2
    kept = left * filters * (F32 + (1 if pooled else 0))
    return flop * (1 + gradients), flop * (1 + gradients * left / positions), kept


def dense(inputs, units):
    flop = 3 * 2 * inputs * units
    return flop, flop, units * F32


def lstm(steps, inputs, units):
    """Six values a unit and step are kept: four gates, cell and state."""
    flop = 3 * 2 * steps * (inputs + units) * 4 * units
    return flop, flop, steps * units * 6 * F32


def tower(filters):
    c = filters
    return [
        convolution((80, 80), 1, (3, 3), c, (78, 78), (39, 39), first=True),
        convolution((39, 39), c, (3, 3), c, (37, 37), (19, 19)),
        convolution((19, 19), c, (3, 3), c, (17, 17), (9, 9)),
        convolution((9, 9), c, (2, 2), c, (8, 8), (4, 4)),
    ]


def head(inputs):
    return [dense(inputs, 128), dense(128, 64), dense(64, 8)]


# Layers, input values, parameters, values of the optimiser's state a parameter.
MODELS = {
    "parallel": (
        [
            convolution((80, 80), 1, (8, 8), 3, (80, 80), (20, 20), first=True),
            convolution((80, 80), 1, (4, 4), 4, (80, 80), (40, 40), first=True),
            dense(7600, 8),
        ],
        6400,
        61_071,
        2,
    ),
    "cnn-rnn": (
        [
            convolution((1, 80), 80, (1, 4), 8, (1, 77), (1, 38), first=True),
            convolution((1, 38), 8, (1, 3), 6, (1, 36), (1, 18)),
            lstm(18, 6, 128),
            lstm(18, 128, 32),
            dense(32, 200),
            dense(200, 8),
        ],
        6400,
        100_654,
        2,
    ),
    "efficient": (tower(32) + head(512), 6400, 97_896, 2),
    "accurate": (tower(32) + tower(64) + head(1536), 6400, 320_936, 2),
    "window": (
        [
            convolution((1, 5), 128, (1, 2), 256, (1, 5), first=True),
            convolution((1, 5), 256, (1, 2), 256, (1, 5)),
            convolution((1, 5), 256, (1, 2), 256, (1, 5)),
            dense(1280, 1024),
            dense(1024, 10),
        ],
        640,
        1_650_442,
        2,
    ),
}


def measured_bandwidth(threads):
    """Bytes read and written a second by `threads` copies of arrays that no cache holds; the best of five."""
    import numpy

    arrays = [[numpy.ones(64 << 20, numpy.float32) for _ in range(2)] for _ in range(threads)]
    best = 0.0
    for _ in range(5):
        workers = [threading.Thread(target=numpy.copyto, args=pair) for pair in arrays]
        begin = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        moved = sum(2 * pair[0].nbytes for pair in arrays)
        best = max(best, moved / (time.perf_counter() - begin))
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bandwidth", type=float, metavar="GB_PER_S", help="of memory, instead of measuring it")
    options = parser.parse_args()
    lines = [json.loads(line) for line in sys.stdin if line.strip()]
    if not lines:
        raise SystemExit("no line of `sonograd bench --json` on standard input")
    bandwidth = options.bandwidth * 1e9 if options.bandwidth else measured_bandwidth(lines[0]["threads"])
    print(f"peak {lines[0]['peak_gflops']:.1f} GFLOP/s a thread, {bandwidth / 1e9:.1f} GB/s\n")
    print("| model | dense GFLOP | sparse GFLOP | MB | dense limit, ms | sparse limit, ms | memory, ms | step, ms | of the sparse limit |")
    print("|---|---|---|---|---|---|---|---|---|")
    for line in lines:
        layers, inputs, parameters, state = MODELS[line["model"]]
        samples = line["batch_size"]
        full, sparse, kept = (samples * sum(column) for column in zip(*layers))
        if abs(full / 1e9 / line["train_gflop"] - 1) > 0.01:
            print(f"{line['model']}: {full / 1e9} GFLOP here, {line['train_gflop']} there", file=sys.stderr)
        moved = samples * inputs * F32 + 2 * kept + parameters * F32 * (2 + 2 + 1 + 1 + 2 * state)
        peak = line["peak_gflops"] * line["threads"] * 1e9
        step = line["train_step_ms"]["min"]
        limits = [1e3 * full / peak, 1e3 * sparse / peak, 1e3 * moved / bandwidth]
        print(
            f"| `{line['model']}` | {full / 1e9:.3g} | {sparse / 1e9:.3g} | {moved / 1e6:.3g} "
            f"| {limits[0]:.3g} | {limits[1]:.3g} | {limits[2]:.3g} | {step:.3g} | {100 * limits[1] / step:.0f} % |"
        )


if __name__ == "__main__":
    main()
