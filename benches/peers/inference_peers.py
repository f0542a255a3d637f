#!/usr/bin/env python3
"""ONNX Runtime or OpenVINO as a peer (`--peer onnxruntime`, `--peer openvino`): see protocol.py.

Both run the same ONNX file, exported from torch_models.py with the batch size fixed, softmax
included. They predict only. Mode `f32`; OpenVINO also `bf16`, where it says that the CPU has it.
"""

import io
import os
import sys

THREADS = int(os.environ.get("PEER_THREADS", "2"))
PEER = sys.argv[sys.argv.index("--peer") + 1] if "--peer" in sys.argv else "onnxruntime"

import protocol
import torch
import torch_models

torch.set_num_threads(THREADS)


def exported(name, rows):
    """The model as the bytes of an ONNX file for batches of `rows`."""
    model = torch.nn.Sequential(torch_models.build(name), torch.nn.Softmax(1)).eval()
    example = torch_models.batches(name, rows)[0][0]
    program = torch.onnx.export(model, (example,), dynamo=True, verbose=False)
    file = io.BytesIO()
    program.save(file)
    with torch.inference_mode():
        return file.getvalue(), model(example).numpy()


def prepare(name, mode, what):
    rows = protocol.rows_of(what)
    onnx, expected = exported(name, rows)
    inputs = [x.numpy() for x, _ in torch_models.batches(name, rows)]
    if PEER == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        feed = session.get_inputs()[0].name
        run = lambda i: session.run(None, {feed: inputs[i % len(inputs)]})[0]  # noqa: E731
    else:
        import openvino

        core = openvino.Core()
        config = {
            "INFERENCE_NUM_THREADS": THREADS,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": mode,
        }
        request = core.compile_model(core.read_model(onnx), "CPU", config).create_infer_request()
        run = lambda i: next(iter(  # noqa: E731
            request.infer([inputs[i % len(inputs)]], share_inputs=True, share_outputs=True).values()
        ))
    error = abs(run(0) - expected).max()
    if not error < (1e-4 if mode == "f32" else 5e-2):
        raise ArithmeticError(f"differs from PyTorch by {error:.1e}")
    return run


def version():
    if PEER == "onnxruntime":
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}"
    import openvino

    return f"openvino {openvino.__version__}"


if __name__ == "__main__":
    modes = ["f32"]
    if PEER == "openvino":
        import openvino

        if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            modes.append("bf16")
    measures = [(m, mode, w) for m in protocol.MODELS for mode in modes for w in protocol.WHATS[1:]]
    protocol.main(PEER, version(), THREADS, measures, prepare)
