//! candle on the CPU: its layers, its losses, its optimisers.
//!
//! What candle has not is made of what it has: the gradient of a max-pool whose stride is not its window (three strided
//! views and two `maximum` a direction), `same` padding of even kernels (`pad_with_zeros`).

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::rnn::{LSTM, LSTMConfig, RNN};
use candle_nn::{
    AdamW, BatchNorm, BatchNormConfig, Conv1d, Conv2d, Dropout, Linear, Module, ModuleT,
    Optimizer as _, ParamsAdamW, SGD, VarBuilder, VarMap, ops,
};

use crate::protocol::{ADAM_EPSILON, Fallible, Model, Optimizer, Peer, Run, problem, rows_of};

/// The peer.
pub fn peer() -> Peer {
    Peer {
        name: "candle",
        version: "candle 0.11.1".into(),
        threads: candle_core::utils::get_num_threads(),
        modes: &["cpu"],
        prepare,
    }
}

fn prepare(model: Model, _mode: &str, what: &str) -> Fallible<Run> {
    let device = Device::Cpu;
    let rows = rows_of(what);
    let mut batches = Vec::new();
    for batch in problem(model, rows) {
        let [channels, length] = model.shape;
        let x = Tensor::from_vec(batch.inputs, (rows, channels, length), &device)?;
        batches.push((x, Tensor::from_vec(batch.classes, rows, &device)?));
    }

    let weights = VarMap::new();
    let network = build(
        model,
        VarBuilder::from_varmap(&weights, DType::F32, &device),
    )?;
    let count: usize = weights.all_vars().iter().map(|var| var.elem_count()).sum();
    assert_eq!(count, model.parameters, "{} in candle", model.name);

    if what == "train_step" {
        let mut optimizer = AnyOptimizer::new(model.optimizer, weights.all_vars())?;
        return Ok(Box::new(move |i| {
            let (x, classes) = &batches[i % batches.len()];
            let loss = candle_nn::loss::cross_entropy(&network.forward_t(x, true)?, classes)?;
            optimizer.backward_step(&loss)?;
            Ok(vec![loss.to_scalar()?])
        }));
    }
    Ok(Box::new(move |i| {
        let logits = network.forward_t(&batches[i % batches.len()].0, false)?;
        Ok(ops::softmax_last_dim(&logits)?.flatten_all()?.to_vec1()?)
    }))
}

enum AnyOptimizer {
    Sgd(SGD),
    Adam(AdamW),
}

impl AnyOptimizer {
    fn new(kind: Optimizer, weights: Vec<Var>) -> Result<Self> {
        Ok(match kind {
            Optimizer::Sgd(rate) => Self::Sgd(SGD::new(weights, rate)?),
            // Without decay AdamW is Adam.
            Optimizer::Adam(lr) => Self::Adam(AdamW::new(
                weights,
                ParamsAdamW {
                    lr,
                    eps: ADAM_EPSILON,
                    weight_decay: 0.0,
                    ..ParamsAdamW::default()
                },
            )?),
        })
    }

    fn backward_step(&mut self, loss: &Tensor) -> Result<()> {
        match self {
            Self::Sgd(optimizer) => optimizer.backward_step(loss),
            Self::Adam(optimizer) => optimizer.backward_step(loss),
        }
    }
}

/// The model of this name; its input is [rows, channels, length], its output are logits.
fn build(model: Model, vb: VarBuilder) -> Result<Box<dyn ModuleT>> {
    Ok(match model.name {
        "parallel" => Box::new(Parallel::new(model.classes, vb)?),
        "cnn-rnn" => Box::new(CnnRnn::new(model.classes, vb)?),
        "efficient" => Box::new(Towers::new(&[32], model.classes, vb)?),
        "accurate" => Box::new(Towers::new(&[32, 64], model.classes, vb)?),
        _ => Box::new(Window::new(model.classes, vb)?),
    })
}

fn conv2d(inputs: usize, filters: usize, kernel: usize, vb: VarBuilder) -> Result<Conv2d> {
    candle_nn::conv2d(inputs, filters, kernel, Default::default(), vb)
}

fn conv1d(inputs: usize, filters: usize, kernel: usize, vb: VarBuilder) -> Result<Conv1d> {
    candle_nn::conv1d(inputs, filters, kernel, Default::default(), vb)
}

struct Parallel {
    coarse: Conv2d,
    fine: Conv2d,
    classifier: Linear,
}

impl Parallel {
    fn new(classes: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            coarse: conv2d(1, 3, 8, vb.pp("branch1"))?,
            fine: conv2d(1, 4, 4, vb.pp("branch2"))?,
            classifier: candle_nn::linear(7600, classes, vb.pp("classifier"))?,
        })
    }
}

impl ModuleT for Parallel {
    fn forward_t(&self, x: &Tensor, _train: bool) -> Result<Tensor> {
        let x = x.unsqueeze(1)?;
        let branch = |conv: &Conv2d, kernel: usize, pool: usize| {
            // `same` for an even kernel: the odd row and column are added after.
            let (before, after) = ((kernel - 1) / 2, kernel / 2);
            let x = x
                .pad_with_zeros(2, before, after)?
                .pad_with_zeros(3, before, after)?;
            ops::leaky_relu(&conv.forward(&x)?, 0.3)?
                .max_pool2d(pool)?
                .flatten_from(1)
        };
        let maps = [branch(&self.coarse, 8, 4)?, branch(&self.fine, 4, 2)?];
        self.classifier.forward(&Tensor::cat(&maps, 1)?)
    }
}

struct CnnRnn {
    conv1: Conv1d,
    conv2: Conv1d,
    lstm1: LSTM,
    lstm2: LSTM,
    dense: Linear,
    dropout: Dropout,
    classifier: Linear,
}

impl CnnRnn {
    fn new(classes: usize, vb: VarBuilder) -> Result<Self> {
        // One bias, as Keras has it.
        let config = LSTMConfig {
            b_hh_init: None,
            ..LSTMConfig::default()
        };
        Ok(Self {
            conv1: conv1d(80, 8, 4, vb.pp("conv1"))?,
            conv2: conv1d(8, 6, 3, vb.pp("conv2"))?,
            lstm1: candle_nn::lstm(6, 128, config, vb.pp("lstm1"))?,
            lstm2: candle_nn::lstm(128, 32, config, vb.pp("lstm2"))?,
            dense: candle_nn::linear(32, 200, vb.pp("dense"))?,
            dropout: Dropout::new(0.2),
            classifier: candle_nn::linear(200, classes, vb.pp("classifier"))?,
        })
    }
}

impl ModuleT for CnnRnn {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let stage = |x: &Tensor, conv: &Conv1d| {
            let x = ops::leaky_relu(&conv.forward(x)?, 0.3)?;
            // The pool's gradient wants whole windows; candle pools images alone.
            let x = x.narrow(2, 0, x.dim(2)? / 2 * 2)?.contiguous()?;
            x.unsqueeze(2)?.max_pool2d((1, 2))?.squeeze(2)
        };
        let x = stage(&stage(x, &self.conv1)?, &self.conv2)?;
        let states = self.lstm1.seq(&x.transpose(1, 2)?)?;
        let states = self.lstm2.seq(&self.lstm1.states_to_tensor(&states)?)?;
        let Some(last) = states.last() else {
            candle_core::bail!("a sequence of length 0");
        };
        let x = self.dense.forward(last.h())?.relu()?;
        self.classifier.forward(&self.dropout.forward(&x, train)?)
    }
}

struct Tower {
    layers: Vec<(Conv2d, BatchNorm)>,
    dropout: Dropout,
}

impl Tower {
    fn new(filters: usize, vb: VarBuilder) -> Result<Self> {
        let config = BatchNormConfig {
            eps: 1e-3,
            momentum: 0.01,
            ..BatchNormConfig::default()
        };
        let mut layers = Vec::new();
        for (i, kernel) in [3, 3, 3, 2].into_iter().enumerate() {
            let inputs = if i == 0 { 1 } else { filters };
            let conv = conv2d(inputs, filters, kernel, vb.pp(format!("conv{i}")))?;
            let norm = candle_nn::batch_norm(filters, config, vb.pp(format!("norm{i}")))?;
            layers.push((conv, norm));
        }
        Ok(Self {
            layers,
            dropout: Dropout::new(0.3),
        })
    }
}

impl ModuleT for Tower {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut x = x.clone();
        for (conv, norm) in &self.layers {
            let y = conv.forward(&x)?.relu()?;
            x = norm.forward_t(&max_pool_3_2(&y, train)?, train)?;
        }
        self.dropout.forward(&x.flatten_from(1)?, train)
    }
}

/// A 3x3 max-pool of stride 2, `same`, of maps that are nowhere negative: zeros outside change no maximum, and where
/// they are as large as it, the relu before passes no gradient.
fn max_pool_3_2(x: &Tensor, train: bool) -> Result<Tensor> {
    let length = x.dim(D::Minus1)?;
    let outputs = length.div_ceil(2);
    let before = length % 2;
    if !train {
        let after = 2 * outputs + 1 - length - before;
        return x
            .pad_with_zeros(2, before, after)?
            .pad_with_zeros(3, before, after)?
            .max_pool2d_with_stride(3, 2);
    }
    // candle has no gradient where the stride is not the window: one direction at a time, columns first.
    let after = 2 * (outputs + 1) - length - before;
    let mut x = x.clone();
    for dim in [3, 2] {
        let mut shape = x.dims().to_vec();
        shape.splice(dim..=dim, [outputs + 1, 2]);
        let pairs = x.pad_with_zeros(dim, before, after)?.reshape(shape)?;
        let view = |odd: usize, from: usize| {
            pairs
                .narrow(dim + 1, odd, 1)?
                .narrow(dim, from, outputs)?
                .squeeze(dim + 1)
        };
        x = view(0, 0)?.maximum(&view(1, 0)?)?.maximum(&view(0, 1)?)?;
    }
    Ok(x)
}

struct Towers {
    towers: Vec<Tower>,
    dense1: Linear,
    dense2: Linear,
    classifier: Linear,
}

impl Towers {
    fn new(filters: &[usize], classes: usize, vb: VarBuilder) -> Result<Self> {
        let towers = filters
            .iter()
            .map(|&filters| Tower::new(filters, vb.pp(format!("tower{filters}"))))
            .collect::<Result<_>>()?;
        let features = 16 * filters.iter().sum::<usize>();
        Ok(Self {
            towers,
            dense1: candle_nn::linear(features, 128, vb.pp("dense1"))?,
            dense2: candle_nn::linear(128, 64, vb.pp("dense2"))?,
            classifier: candle_nn::linear(64, classes, vb.pp("classifier"))?,
        })
    }
}

impl ModuleT for Towers {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let x = x.unsqueeze(1)?;
        let maps = self
            .towers
            .iter()
            .map(|tower| tower.forward_t(&x, train))
            .collect::<Result<Vec<_>>>()?;
        let x = self.dense1.forward(&Tensor::cat(&maps, 1)?)?.relu()?;
        self.classifier.forward(&self.dense2.forward(&x)?.relu()?)
    }
}

struct Window {
    convs: Vec<Conv1d>,
    dense: Linear,
    dropout: Dropout,
    classifier: Linear,
}

impl Window {
    fn new(classes: usize, vb: VarBuilder) -> Result<Self> {
        Ok(Self {
            convs: [128, 256, 256]
                .into_iter()
                .enumerate()
                .map(|(i, inputs)| conv1d(inputs, 256, 2, vb.pp(format!("conv{i}"))))
                .collect::<Result<_>>()?,
            dense: candle_nn::linear(1280, 1024, vb.pp("dense"))?,
            dropout: Dropout::new(0.5),
            classifier: candle_nn::linear(1024, classes, vb.pp("classifier"))?,
        })
    }
}

impl ModuleT for Window {
    fn forward_t(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let mut x = x.clone();
        for conv in &self.convs {
            x = conv.forward(&x.pad_with_zeros(2, 0, 1)?)?.relu()?;
        }
        let x = self.dense.forward(&x.flatten_from(1)?)?.relu()?;
        self.classifier.forward(&self.dropout.forward(&x, train)?)
    }
}
