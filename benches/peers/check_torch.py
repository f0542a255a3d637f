#!/usr/bin/env python3
"""Proves that torch_models.py are the models: given Keras' weights they give Keras' answers.

    python ../../fixtures/record_keras.py --full --out DIR
    python check_torch.py DIR/*.safetensors

Compares the probabilities (inference) and the loss (training mode, dropout 0) of full-size reference files.
"""

import sys

import numpy as np
import torch
import torch_models
from safetensors import safe_open
from torch import nn


def channels_first(kernel, maps):
    """A dense kernel over flattened `(h, w, c)` maps, its rows reordered to c, h, w."""
    parts, at = [], 0
    for h, w, c in maps:
        part = kernel[at : at + h * w * c].reshape(h, w, c, -1)
        parts.append(part.transpose(2, 0, 1, 3).reshape(h * w * c, -1))
        at += h * w * c
    return np.concatenate(parts)


def load(name, model, weights):
    def put(parameter, value):
        assert parameter.shape == value.shape, (parameter.shape, value.shape)
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(value)))

    def conv(module, layer):
        kernel = weights[f"{layer}.kernel"]
        put(module.weight, np.moveaxis(kernel, (-1, -2), (0, 1)))
        put(module.bias, weights[f"{layer}.bias"])

    def dense(module, layer, maps=None):
        kernel = weights[f"{layer}.kernel"]
        put(module.weight, (channels_first(kernel, maps) if maps else kernel).T)
        put(module.bias, weights[f"{layer}.bias"])

    if name == "parallel":
        conv(model.conv1, "branch1.conv")
        conv(model.conv2, "branch2.conv")
        dense(model.classifier, "classifier", [(20, 20, 3), (40, 40, 4)])
    elif name == "cnn-rnn":
        conv(model.conv1, "conv1")
        conv(model.conv2, "conv2")
        for module, layer in ((model.lstm1, "lstm1"), (model.lstm2, "lstm2")):
            put(module.weight_ih_l0, weights[f"{layer}.kernel"].T)
            put(module.weight_hh_l0, weights[f"{layer}.recurrent_kernel"].T)
            put(module.bias_ih_l0, weights[f"{layer}.bias"])
        dense(model.dense, "dense")
        dense(model.classifier, "classifier")
    elif name == "window":
        for i, module in enumerate(model.convs, 1):
            conv(module, f"conv{i}")
        dense(model.dense, "dense", [(1, 5, 256)])
        dense(model.classifier, "classifier")
    else:
        prefixes = [""] if name == "efficient" else ["tower1.", "tower2."]
        for tower, prefix in zip(model.towers, prefixes):
            for i, (module, norm) in enumerate(zip(tower.convs, tower.norms), 1):
                conv(module, f"{prefix}conv{i}")
                put(norm.weight, weights[f"{prefix}norm{i}.gamma"])
                put(norm.bias, weights[f"{prefix}norm{i}.beta"])
                put(norm.running_mean, weights[f"{prefix}norm{i}.moving_mean"])
                put(norm.running_var, weights[f"{prefix}norm{i}.moving_variance"])
        dense(model.dense1, "dense1", [(4, 4, 32 << i) for i in range(len(prefixes))])
        dense(model.dense2, "dense2")
        dense(model.classifier, "classifier")


def check(path):
    with safe_open(path, "numpy") as file:
        name = file.metadata()["model"]
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    model = torch_models.build(name)
    load(name, model, {k.removeprefix("param/"): v for k, v in tensors.items() if k.startswith("param/")})
    x = torch.from_numpy(np.moveaxis(tensors["input"], -1, 1).copy())
    with torch.inference_mode():
        output = torch.softmax(model.eval()(x), 1).numpy()
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        loss = nn.functional.cross_entropy(model.train()(x), torch.from_numpy(tensors["target"])).item()
    apart = float(np.abs(output - tensors["output"]).max())
    off = abs(loss / float(tensors["loss"][0]) - 1.0)
    good = apart < 1e-5 and off < 1e-5
    print(f"{name}: {'same' if good else 'DIFFERS'}: output {apart:.1e}, loss {off:.1e}")
    return good


if __name__ == "__main__":
    sys.exit(0 if all([check(path) for path in sys.argv[1:]]) else 1)
