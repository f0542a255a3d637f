#!/usr/bin/env python3
"""PyTorch as a peer: see protocol.py.

Modes: `eager`; `channels_last` (eager, NHWC strides; the models with images alone); `compile`
(torch.compile, Inductor: needs a C++ compiler); `compile_channels_last`.
"""

import os

THREADS = int(os.environ.get("PEER_THREADS", "2"))

import protocol
import torch
import torch_models
from torch.nn import functional as F

torch.set_num_threads(THREADS)
torch.set_num_interop_threads(1)


def prepare(name, mode, what):
    model = torch_models.build(name)
    batches = torch_models.batches(name, protocol.rows_of(what))
    if mode.endswith("channels_last"):
        model = model.to(memory_format=torch.channels_last)
        batches = [(x.to(memory_format=torch.channels_last), y) for x, y in batches]
    compiled = mode.startswith("compile")

    if what == "train_step":
        model.train()
        optimizer = torch_models.optimizer(name, model.parameters())
        call = torch.compile(model) if compiled else model

        def step(i):
            x, y = batches[i % len(batches)]
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(call(x), y)
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    model.eval()

    def predict(x):
        return torch.softmax(model(x), 1)

    call = torch.compile(predict) if compiled else predict

    def run(i):
        with torch.inference_mode():
            return call(batches[i % len(batches)][0]).numpy()

    return run


if __name__ == "__main__":
    measures = []
    for name, (shape, _, _) in protocol.MODELS.items():
        images = len(shape) == 3
        modes = ("eager", "channels_last", "compile", "compile_channels_last") if images else ("eager", "compile")
        measures += [(name, mode, what) for mode in modes for what in protocol.WHATS]
    protocol.main("torch", f"torch {torch.__version__}", THREADS, measures, prepare)
