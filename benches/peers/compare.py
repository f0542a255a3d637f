#!/usr/bin/env python3
"""Times sonograd beside its peers, in turns, and prints the minima and their ratios.

    python compare.py [--models efficient ...] [--what train_step ...] [--peers tensorflow torch ...]
                      [--rounds 3] [--seconds 2] [--ours "../../target/release/sonograd bench {model} --json"]
                      [--markdown FILE] [--json FILE]

A round takes, for every model, one turn of ours (the command, once) and one of every peer, mode
and `what`, so that a slow minute of the machine hits all alike; who goes first changes from round to
round. The figure of a measure is the least of its rounds' minima; the median, that of their
medians. The ratio is of the fastest float32 peer to the fastest float32 of ours. Peers wait for their turn on standard input and are idle until then.

Ours prints JSON objects, one a line (one a precision, say): {"model", "precision", "isa", "threads",
"batch_size", "train_step_ms": {"min", "median"}, "predict_batch_ms": {..}, "predict_one_ms": {..}}. `--ours`
may be given several times, for other settings of ours; `{model}` and `{seconds}` are filled in.
"""

import argparse
import datetime
import functools
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = ("parallel", "cnn-rnn", "efficient", "accurate", "window")
WHATS = ("train_step", "predict_batch", "predict_one")
PEERS = {
    "tensorflow": ["tensorflow_peer.py"],
    "tensorflow-eigen": ["tensorflow_peer.py", "--onednn", "off"],
    "torch": ["torch_peer.py"],
    "onnxruntime": ["inference_peers.py", "--peer", "onnxruntime"],
    "openvino": ["inference_peers.py", "--peer", "openvino"],
    "burn": ["rust", "--peer", "burn"],
    "candle": ["rust", "--peer", "candle"],
}


@functools.cache
def rust_peers():
    """Builds `rust/` where that is due; the path of its binary, as cargo tells it."""
    command = ["cargo", "build", "--release", "--locked", "--message-format=json-render-diagnostics"]
    if "avx512f" in cpu("flags").split():
        command += ["--features", "avx512"]
    # In that folder, for the sake of its `.cargo/config.toml`.
    done = subprocess.run(command, cwd=os.path.join(HERE, "rust"), stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit("burn and candle do not build: leave them out with --peers, or see above")
    built = [json.loads(line) for line in done.stdout.splitlines()]
    return next(about["executable"] for about in built if about.get("executable"))


class Peer:
    """One peer process and the measures it offers."""

    def __init__(self, name, threads, log):
        program, *arguments = PEERS[name]
        command = [rust_peers()] if program == "rust" else [sys.executable, os.path.join(HERE, program)]
        command += arguments
        pools = ("PEER_THREADS", "OMP_NUM_THREADS", "RAYON_NUM_THREADS", "MATMUL_NUM_THREADS")
        environment = os.environ | dict.fromkeys(pools, str(threads))
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, env=environment
        )
        about = self.ask({"what": "describe"})
        self.version, self.measures = about["version"], [tuple(m) for m in about["measures"]]

    def ask(self, request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a peer ended: {' '.join(self.process.args)} (see --log)")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)


def ours(template, model, seconds):
    """`[(label, what, min_ms, median_ms)]` of one run of our command."""
    command = shlex.split(template.format(model=model, seconds=seconds))
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
    found = []
    for line in filter(str.strip, done.stdout.splitlines()):
        about = json.loads(line)
        label = f"sonograd {about['precision']} {about['isa']}"
        for what in WHATS:
            figures = about.get(f"{what}_ms")
            if figures:
                found.append((label, what, figures["min"], figures["median"]))
    return found


def cpu(field):
    """What Linux says of the first core, `""` where there is no such thing."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith(field))
    except (OSError, StopIteration):
        return ""


def summary(times, models, whats):
    """`{model: {what: {"measures": {label: {min, median}}, "ours", "best_peer", "ratio"}}}`."""
    found = {}
    for model in models:
        for what in whats:
            measures = {
                label: {
                    "min_ms": min(low for low, _ in rounds),
                    "median_ms": statistics.median(middle for _, middle in rounds),
                }
                for (m, w, label), rounds in times.items()
                if (m, w) == (model, what)
            }
            if not measures:
                continue
            least = lambda labels: min(labels, key=lambda x: measures[x]["min_ms"], default=None)  # noqa: E731
            # float32 against float32: a narrower type is in the table, not in the ratio.
            single = [x for x in measures if x.startswith("sonograd f32 ")]
            mine = least(single or [x for x in measures if x.startswith("sonograd")])
            peer = least([x for x in measures if not x.startswith("sonograd") and "bf16" not in x])
            ratio = None
            if mine and peer:
                ratio = measures[peer]["min_ms"] / measures[mine]["min_ms"]
            found.setdefault(model, {})[what] = {
                "measures": measures,
                "ours": mine,
                "best_peer": peer,
                "ratio": ratio,
            }
    return found


def markdown(about, result):
    lines = [
        f"{about['date']}, {about['cpu']}, {about['threads']} threads, batch 128, {about['rounds']} rounds in turns; "
        f"least time in ms. {'; '.join(about['versions'])}.",
    ]
    for what in WHATS:
        rows = {model: found[what] for model, found in result.items() if what in found}
        if not rows:
            continue
        labels = sorted({label for row in rows.values() for label in row["measures"]},
                        key=lambda label: (not label.startswith("sonograd"), label))
        lines += ["", f"### {what}", "", f"| model | {' | '.join(labels)} | best peer / ours |"]
        lines.append("|---" * (len(labels) + 2) + "|")
        for model, row in rows.items():
            cells = []
            for label in labels:
                figures = row["measures"].get(label)
                text = f"{figures['min_ms']:.3g}" if figures else "-"
                best = label in (row["ours"], row["best_peer"])
                cells.append(f"**{text}**" if best else text)
            ratio = f"{row['ratio']:.2f}" if row["ratio"] else "-"
            lines.append(f"| {model} | {' | '.join(cells)} | {ratio} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--what", nargs="+", choices=WHATS, default=list(WHATS))
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--modes", nargs="+", help="these modes of the peers alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one peer's turn")
    parser.add_argument("--threads", type=int, default=2, help="of each peer; give ours its own option")
    parser.add_argument("--ours", action="append", metavar="COMMAND", help="`none` for peers alone")
    parser.add_argument("--markdown", metavar="FILE")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--log", metavar="FILE", default=os.devnull, help="what the peers say")
    options = parser.parse_args()
    binary = os.path.normpath(os.path.join(HERE, "..", "..", "target", "release", "sonograd"))
    commands = options.ours or [shlex.quote(binary) + " bench {model} --json"]
    commands = [command for command in commands if command != "none"]

    log = open(options.log, "w")
    peers = {name: Peer(name, options.threads, log) for name in options.peers}
    times, failed = {}, set()

    def our_turn(model):
        for command in commands:
            for label, what, low, middle in ours(command, model, options.seconds):
                if what in options.what:
                    times.setdefault((model, what, label), []).append((low, middle))

    def peers_turn(model):
        for name, peer in peers.items():
            for measure in peer.measures:
                _, mode, what = measure
                wanted = measure[0] == model and what in options.what
                if not wanted or (options.modes and mode not in options.modes) or (name, measure) in failed:
                    continue
                request = dict(zip(("model", "mode", "what"), measure)) | {"seconds": options.seconds}
                answer = peer.ask(request)
                if "error" in answer:
                    failed.add((name, measure))
                    print(f"{name} {' '.join(measure)}: {answer['error']}", file=sys.stderr)
                    continue
                label = f"{answer['peer']} {mode}"
                times.setdefault((model, what, label), []).append((answer["min_ms"], answer["median_ms"]))
                time.sleep(0.1)  # its worker threads may spin for a while before they sleep

    for number in range(options.rounds):
        for model in options.models:
            turns = [our_turn, peers_turn]
            for turn in turns if number % 2 == 0 else reversed(turns):
                turn(model)
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    for peer in peers.values():
        peer.close()

    about = {
        "date": datetime.date.today().isoformat(),
        "cpu": cpu("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": options.threads,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "load_average": list(os.getloadavg()),
        "platform": platform.platform(),
        "versions": [peer.version for peer in peers.values()],
        "ours": commands,
        "failed": sorted(" ".join((name, *measure)) for name, measure in failed),
    }
    result = summary(times, options.models, options.what)
    text = markdown(about, result)
    print(text)
    if options.markdown:
        with open(options.markdown, "w") as file:
            file.write(text)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"about": about, "result": result}, file, indent=1)
            file.write("\n")


if __name__ == "__main__":
    main()
