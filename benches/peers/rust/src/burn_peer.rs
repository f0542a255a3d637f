//! burn on the CPU: its modules, its loss, its optimisers, with autodiff while training.
//!
//! Mode: `flex`, its own CPU backend.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv1d, Conv1dConfig, Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{MaxPool1dConfig, MaxPool2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig, Lstm, LstmConfig,
    PaddingConfig1d, PaddingConfig2d,
};
use burn::optim::{AdamConfig, GradientsParams, SgdConfig};
use burn::tensor::activation::{leaky_relu, relu, softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::protocol::{ADAM_EPSILON, Fallible, Model, Optimizer, Peer, Run, problem, rows_of};

/// The peer.
pub fn peer() -> Peer {
    Peer {
        name: "burn",
        version: "burn 0.22.1".into(),
        threads: candle_core::utils::get_num_threads(),
        modes: &["flex"],
        prepare,
    }
}

fn prepare(model: Model, _: &str, what: &str) -> Fallible<Run> {
    let plain = Device::flex();
    plain.seed(0);
    let device = plain.autodiff();
    let classes = model.classes;
    Ok(match model.name {
        "parallel" => run(model, what, Parallel::new(classes, &device), device),
        "cnn-rnn" => run(model, what, CnnRnn::new(classes, &device), device),
        "efficient" => run(model, what, Towers::new(&[32], classes, &device), device),
        "accurate" => run(
            model,
            what,
            Towers::new(&[32, 64], classes, &device),
            device,
        ),
        _ => run(model, what, Window::new(classes, &device), device),
    })
}

/// A model: inputs are [rows, channels, length], outputs are logits.
trait Network: Module + 'static {
    fn forward(&self, x: Tensor<3>) -> Tensor<2>;
}

fn run<N: Network>(model: Model, what: &str, network: N, device: Device) -> Run {
    assert_eq!(
        network.num_params(),
        model.parameters,
        "{} in burn",
        model.name
    );
    let train = what == "train_step";
    let device = if train { device } else { device.inner() };
    let rows = rows_of(what);
    let [channels, length] = model.shape;
    let batches: Vec<(Tensor<3>, Tensor<1, Int>)> = problem(model, rows)
        .into_iter()
        .map(|batch| {
            let x = TensorData::new(batch.inputs, [rows, channels, length]);
            let classes: Vec<i32> = batch.classes.iter().map(|&class| class as i32).collect();
            let classes = TensorData::new(classes, [rows]);
            (
                Tensor::from_data(x, &device),
                Tensor::from_data(classes, &device),
            )
        })
        .collect();

    if train {
        let (mut optimizer, rate) = match model.optimizer {
            Optimizer::Sgd(rate) => (SgdConfig::new().init(), rate),
            Optimizer::Adam(rate) => (
                AdamConfig::new().with_epsilon(ADAM_EPSILON as f32).init(),
                rate,
            ),
        };
        let loss = CrossEntropyLossConfig::new().init(&device);
        let mut network = Some(network);
        return Box::new(move |i| {
            let (x, classes) = batches[i % batches.len()].clone();
            let before = network.take().ok_or("a step before this one failed")?;
            let loss = loss.forward(before.forward(x), classes);
            let gradients = GradientsParams::from_grads(loss.backward(), &before);
            network = Some(optimizer.step(rate, before, gradients));
            Ok(vec![loss.into_scalar()])
        });
    }
    let network = network.valid();
    Box::new(move |i| {
        let logits = network.forward(batches[i % batches.len()].0.clone());
        Ok(softmax(logits, 1).into_data().try_into_vec()?)
    })
}

#[derive(Module, Debug)]
struct Parallel {
    coarse: Conv2d,
    fine: Conv2d,
    classifier: Linear,
}

impl Parallel {
    fn new(classes: usize, device: &Device) -> Self {
        let conv = |filters, kernel| {
            Conv2dConfig::new([1, filters], [kernel; 2])
                .with_padding(PaddingConfig2d::Same)
                .init(device)
        };
        Self {
            coarse: conv(3, 8),
            fine: conv(4, 4),
            classifier: LinearConfig::new(7600, classes).init(device),
        }
    }
}

impl Network for Parallel {
    fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        let x: Tensor<4> = x.unsqueeze_dim(1);
        let branch = |conv: &Conv2d, pool| -> Tensor<2> {
            let x = leaky_relu(conv.forward(x.clone()), 0.3);
            MaxPool2dConfig::new([pool; 2])
                .init()
                .forward(x)
                .flatten(1, 3)
        };
        let maps = vec![branch(&self.coarse, 4), branch(&self.fine, 2)];
        self.classifier.forward(Tensor::cat(maps, 1))
    }
}

#[derive(Module, Debug)]
struct CnnRnn {
    conv1: Conv1d,
    conv2: Conv1d,
    lstm1: Lstm,
    lstm2: Lstm,
    dense: Linear,
    dropout: Dropout,
    classifier: Linear,
}

impl CnnRnn {
    fn new(classes: usize, device: &Device) -> Self {
        Self {
            conv1: Conv1dConfig::new(80, 8, 4).init(device),
            conv2: Conv1dConfig::new(8, 6, 3).init(device),
            lstm1: lstm(6, 128, device),
            lstm2: lstm(128, 32, device),
            dense: LinearConfig::new(32, 200).init(device),
            dropout: DropoutConfig::new(0.2).init(),
            classifier: LinearConfig::new(200, classes).init(device),
        }
    }
}

/// burn gives each gate two biases; Keras, and so this one, has one.
fn lstm(inputs: usize, units: usize, device: &Device) -> Lstm {
    let mut lstm = LstmConfig::new(inputs, units, true).init(device);
    let gates = [
        Some(&mut lstm.input_gate),
        lstm.forget_gate.as_mut(),
        Some(&mut lstm.output_gate),
        Some(&mut lstm.cell_gate),
    ];
    for gate in gates.into_iter().flatten() {
        gate.hidden_transform.bias = None::<Param<Tensor<1>>>;
    }
    lstm
}

impl Network for CnnRnn {
    fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        let stage = |x, conv: &Conv1d| {
            MaxPool1dConfig::new(2)
                .init()
                .forward(leaky_relu(conv.forward(x), 0.3))
        };
        let x = stage(stage(x, &self.conv1), &self.conv2);
        let (x, _) = self.lstm1.forward(x.swap_dims(1, 2), None);
        let (_, last) = self.lstm2.forward(x, None);
        let x = relu(self.dense.forward(last.hidden));
        self.classifier.forward(self.dropout.forward(x))
    }
}

#[derive(Module, Debug)]
struct Tower {
    convs: Vec<Conv2d>,
    norms: Vec<BatchNorm>,
    dropout: Dropout,
}

impl Tower {
    fn new(filters: usize, device: &Device) -> Self {
        let convs = [(1, 3), (filters, 3), (filters, 3), (filters, 2)];
        let norm = BatchNormConfig::new(filters)
            .with_epsilon(1e-3)
            .with_momentum(0.01);
        Self {
            convs: convs
                .map(|(inputs, kernel)| {
                    Conv2dConfig::new([inputs, filters], [kernel; 2]).init(device)
                })
                .into(),
            norms: convs.map(|_| norm.init(device)).into(),
            dropout: DropoutConfig::new(0.3).init(),
        }
    }

    fn forward(&self, mut x: Tensor<4>) -> Tensor<2> {
        let pool = MaxPool2dConfig::new([3, 3])
            .with_strides([2, 2])
            .with_padding(PaddingConfig2d::Same)
            .init();
        for (conv, norm) in self.convs.iter().zip(&self.norms) {
            x = norm.forward(pool.forward(relu(conv.forward(x))));
        }
        self.dropout.forward(x.flatten(1, 3))
    }
}

#[derive(Module, Debug)]
struct Towers {
    towers: Vec<Tower>,
    dense1: Linear,
    dense2: Linear,
    classifier: Linear,
}

impl Towers {
    fn new(filters: &[usize], classes: usize, device: &Device) -> Self {
        let towers = filters.iter().map(|&filters| Tower::new(filters, device));
        Self {
            towers: towers.collect(),
            dense1: LinearConfig::new(16 * filters.iter().sum::<usize>(), 128).init(device),
            dense2: LinearConfig::new(128, 64).init(device),
            classifier: LinearConfig::new(64, classes).init(device),
        }
    }
}

impl Network for Towers {
    fn forward(&self, x: Tensor<3>) -> Tensor<2> {
        let x: Tensor<4> = x.unsqueeze_dim(1);
        let towers = self.towers.iter().map(|tower| tower.forward(x.clone()));
        let x = Tensor::cat(towers.collect(), 1);
        let x = relu(self.dense1.forward(x));
        self.classifier.forward(relu(self.dense2.forward(x)))
    }
}

#[derive(Module, Debug)]
struct Window {
    convs: Vec<Conv1d>,
    dense: Linear,
    dropout: Dropout,
    classifier: Linear,
}

impl Window {
    fn new(classes: usize, device: &Device) -> Self {
        let conv = |inputs| {
            Conv1dConfig::new(inputs, 256, 2)
                .with_padding(PaddingConfig1d::Same)
                .init(device)
        };
        Self {
            convs: [128, 256, 256].map(conv).into(),
            dense: LinearConfig::new(1280, 1024).init(device),
            dropout: DropoutConfig::new(0.5).init(),
            classifier: LinearConfig::new(1024, classes).init(device),
        }
    }
}

impl Network for Window {
    fn forward(&self, mut x: Tensor<3>) -> Tensor<2> {
        for conv in &self.convs {
            x = relu(conv.forward(x));
        }
        let x = relu(self.dense.forward(x.flatten(1, 2)));
        self.classifier.forward(self.dropout.forward(x))
    }
}
