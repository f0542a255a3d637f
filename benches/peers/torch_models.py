"""The five models in PyTorch, channels first as it wants them. Shared by the PyTorch and ONNX peers.

`same` pooling 3x3 stride 2 pads 1 + 1 on odd sizes and only after on even ones: `padding=1` and
`ceil_mode` without padding. PyTorch's LSTM has a second bias that Keras has not: zero, not trained,
not counted. Softmax is left to the loss, and added for prediction.
"""

import protocol
import torch
from torch import nn
from torch.nn import functional as F


class Parallel(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 3, 8, padding="same")
        self.conv2 = nn.Conv2d(1, 4, 4, padding="same")
        self.classifier = nn.Linear(7600, classes)

    def forward(self, x):
        a = F.max_pool2d(F.leaky_relu(self.conv1(x), 0.3), 4).flatten(1)
        b = F.max_pool2d(F.leaky_relu(self.conv2(x), 0.3), 2).flatten(1)
        return self.classifier(torch.cat((a, b), 1))


class CnnRnn(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(80, 8, 4), nn.Conv1d(8, 6, 3)
        self.lstm1 = nn.LSTM(6, 128, batch_first=True)
        self.lstm2 = nn.LSTM(128, 32, batch_first=True)
        self.dense, self.drop = nn.Linear(32, 200), nn.Dropout(0.2)
        self.classifier = nn.Linear(200, classes)
        for lstm in (self.lstm1, self.lstm2):
            nn.init.zeros_(lstm.bias_hh_l0).requires_grad_(False)

    def forward(self, x):
        x = F.max_pool1d(F.leaky_relu(self.conv1(x), 0.3), 2)
        x = F.max_pool1d(F.leaky_relu(self.conv2(x), 0.3), 2)
        x, _ = self.lstm1(x.transpose(1, 2))
        x, _ = self.lstm2(x)
        return self.classifier(self.drop(F.relu(self.dense(x[:, -1]))))


class Tower(nn.Module):
    def __init__(self, filters):
        super().__init__()
        sizes = ((1, 3), (filters, 3), (filters, 3), (filters, 2))
        self.convs = nn.ModuleList(nn.Conv2d(i, filters, k) for i, k in sizes)
        self.norms = nn.ModuleList(nn.BatchNorm2d(filters, 1e-3, 0.01) for _ in sizes)
        self.drop = nn.Dropout(0.3)

    def forward(self, x):
        for conv, norm in zip(self.convs, self.norms):
            x = F.relu(conv(x))
            odd = x.shape[-1] % 2 == 1
            x = norm(F.max_pool2d(x, 3, 2, padding=int(odd), ceil_mode=not odd))
        return self.drop(x).flatten(1)


class Towers(nn.Module):
    def __init__(self, classes, filters):
        super().__init__()
        self.towers = nn.ModuleList(Tower(f) for f in filters)
        self.dense1, self.dense2 = nn.Linear(16 * sum(filters), 128), nn.Linear(128, 64)
        self.classifier = nn.Linear(64, classes)

    def forward(self, x):
        x = torch.cat([tower(x) for tower in self.towers], 1)
        return self.classifier(F.relu(self.dense2(F.relu(self.dense1(x)))))


class Window(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(i, 256, 2, padding="same") for i in (128, 256, 256))
        self.dense, self.drop = nn.Linear(1280, 1024), nn.Dropout(0.5)
        self.classifier = nn.Linear(1024, classes)

    def forward(self, x):
        for conv in self.convs:
            x = F.relu(conv(x))
        return self.classifier(self.drop(F.relu(self.dense(x.flatten(1)))))


def build(name):
    """The model, its number of weights asserted to be the published one."""
    _, classes, parameters = protocol.MODELS[name]
    torch.manual_seed(0)
    model = {
        "parallel": lambda: Parallel(classes),
        "cnn-rnn": lambda: CnnRnn(classes),
        "efficient": lambda: Towers(classes, (32,)),
        "accurate": lambda: Towers(classes, (32, 64)),
        "window": lambda: Window(classes),
    }[name]()
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    count += sum(b.numel() for n, b in model.named_buffers() if "running" in n)
    assert count == parameters, (name, count)
    return model


def optimizer(name, parameters):
    """The published optimiser, in PyTorch's fastest form of it."""
    parameters = [p for p in parameters if p.requires_grad]
    if name in ("efficient", "accurate"):
        return torch.optim.Adam(parameters, 1e-3, eps=1e-7, fused=True)
    if name == "window":
        return torch.optim.Adadelta(parameters, 1.0, rho=0.95, eps=1e-7, foreach=True)
    return torch.optim.SGD(parameters, {"parallel": 5e-3, "cnn-rnn": 1e-1}[name], fused=True)


def batches(name, rows):
    """`(input, class index)` of protocol.problem, channels first."""
    found = []
    for x, y in protocol.problem(name, rows):
        x = torch.from_numpy(x).movedim(-1, 1).contiguous()
        found.append((x, torch.from_numpy(y)))
    return found
