//! What a differentiable operation is: its shapes, what it keeps, forward, backward, and its definition in `f64`.
//!
//! An operation is built with its input shapes (the constructor is the shape rule), so everything it needs is known
//! before the first step runs. Slices are one shard's samples one after another; a shape is one sample's.

use crate::shape::Shape;
use sonograd_kernels::{ConvBlock, GemmAlgorithm, Kernels, NormGradient};
use std::any::Any;
use std::fmt::Debug;
use std::ops::Range;

/// The most values one operation reads.
pub const MAX_INPUTS: usize = 8;

/// How a parameter starts, as Keras' initialiser of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initializer {
    /// All 0.
    Zeros,
    /// All 1.
    Ones,
    /// Uniform in +-sqrt(6 / (fan_in + fan_out)).
    GlorotUniform,
    /// Rows or columns orthonormal, whichever are fewer.
    Orthogonal,
    /// 0, but 1 for the second quarter: an LSTM's forget gate.
    UnitForgetBias,
}

/// One weight of an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Keras' name: `kernel`, `bias`, `recurrent_kernel`, `gamma`.
    pub name: &'static str,
    /// Keras' layout: H W I O, in x out.
    pub shape: Shape,
    /// How it starts.
    pub initializer: Initializer,
    /// False for statistics that are kept but not trained.
    pub trainable: bool,
}

impl Parameter {
    /// A trained weight.
    pub fn new(name: &'static str, shape: impl Into<Shape>, initializer: Initializer) -> Self {
        Self {
            name,
            shape: shape.into(),
            initializer,
            trainable: true,
        }
    }
}

/// What an operation keeps and uses beside its inputs and its output.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Needs {
    /// Bytes a sample from forward to backward: where a maximum stood.
    pub codes: usize,
    /// f32 values a sample from forward to backward: an LSTM's gates.
    pub workspace: usize,
    /// f32 values a shard within one call.
    pub scratch: usize,
    /// f32 values of the weights as the kernels want them, made once a step.
    pub packed: usize,
    /// Backward reads the inputs.
    pub reads_inputs: bool,
    /// Backward reads the output.
    pub reads_output: bool,
    /// f64 sums over the batch that forward waits for (batch normalisation), 0 for none.
    pub forward_sums: usize,
    /// f64 sums over the batch that backward waits for, 0 for none.
    pub backward_sums: usize,
    /// Backward can take a gradient by the output as a batch normalisation behind it has normalised it ([`Backward::norm`]).
    pub takes_norm: bool,
    /// Not 0: backward only turns what [`Op::backward_sums`] wrote to the input's gradient by [`Op::norm_gradient`], which
    /// needs so many f32 values of scratch; the operation that wrote the input may do it instead.
    pub norm_gradient: usize,
    /// Not 0: the weights' gradient is not a sum of the shards' partial ones but computed over the whole batch at the
    /// end of the step, in blocks of this many elements ([`Op::batch_gradient`]).
    pub gradient_block: usize,
}

/// The counters that name a layer's random numbers in one step; with the sample's row they are independent of shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RandomKey {
    /// Named by seed, step and layer.
    pub key: u64,
    /// The shard's first row in the batch.
    pub first_row: usize,
}

/// One shard's forward call.
pub struct Forward<'a> {
    /// The kernels to use.
    pub kernels: &'static Kernels,
    /// Samples in the slices.
    pub samples: usize,
    /// True in a training step: dropout drops, batch normalisation uses the batch's statistics.
    pub training: bool,
    /// Which of [`Op::slices`]; every one is called once, in order.
    pub slice: usize,
    /// The inputs, samples x shape each.
    pub inputs: &'a [&'a [f32]],
    /// The operation's trainable weights one after another, in the order of [`Op::parameters`].
    pub parameters: &'a [f32],
    /// The operation's statistics (weights that are not trained) one after another.
    pub state: &'a [f32],
    /// What [`Op::pack`] wrote.
    pub packed: &'a [f32],
    /// What [`Op::combine_forward`] wrote.
    pub sums: &'a [f64],
    /// To be written wholly, by all slices together.
    pub output: &'a mut [f32],
    /// Kept for backward.
    pub codes: &'a mut [u8],
    /// Kept for backward.
    pub workspace: &'a mut [f32],
    /// Dirty at the first slice, at the others as the last one left it.
    pub scratch: &'a mut [f32],
    /// Names the random numbers.
    pub random: RandomKey,
}

/// One shard's backward call. Everything is set, nothing added to.
pub struct Backward<'a> {
    /// The kernels to use.
    pub kernels: &'static Kernels,
    /// Samples in the slices.
    pub samples: usize,
    /// Which of [`Op::slices`]; every one is called once, in order.
    pub slice: usize,
    /// The inputs; empty slices unless [`Needs::reads_inputs`].
    pub inputs: &'a [&'a [f32]],
    /// The output; empty unless [`Needs::reads_output`].
    pub output: &'a [f32],
    /// The loss's gradient by the output, or by what `norm` has made of it.
    pub d_output: &'a [f32],
    /// The batch normalisation behind the output, where [`Needs::takes_norm`].
    pub norm: Option<NormGradient<'a>>,
    /// The operation's trainable weights.
    pub parameters: &'a [f32],
    /// What [`Op::pack`] wrote.
    pub packed: &'a [f32],
    /// What [`Op::combine_forward`] wrote.
    pub sums: &'a [f64],
    /// What [`Op::combine_backward`] wrote.
    pub backward_sums: &'a [f64],
    /// From forward.
    pub codes: &'a [u8],
    /// From forward; may be overwritten.
    pub workspace: &'a mut [f32],
    /// Dirty at the first slice, at the others as the last one left it.
    pub scratch: &'a mut [f32],
    /// To be written wholly; `None` where no weight stands before that input.
    pub d_inputs: &'a mut [Option<&'a mut [f32]>],
    /// The samples' partial gradient of the weights; empty for an operation with [`Op::batch_gradient`], and in the
    /// backward of one that has written it with its [`Op::backward_sums`].
    pub d_parameters: &'a mut [f32],
    /// As in forward.
    pub random: RandomKey,
}

/// One shard's call of a loss.
pub struct LossCall<'a> {
    /// The kernels to use.
    pub kernels: &'static Kernels,
    /// Samples in the slices.
    pub samples: usize,
    /// The head's input.
    pub logits: &'a [f32],
    /// One-hot, samples x classes.
    pub targets: &'a [f32],
    /// The head's output, to be written.
    pub probabilities: &'a mut [f32],
    /// The gradient by the logits, to be written.
    pub d_logits: &'a mut [f32],
    /// What every sample's gradient is multiplied by: 1 / the batch's samples.
    pub scale: f32,
}

/// The shards of a batch as [`Op::batch_gradient`] reads them.
pub trait BatchView {
    /// How many shards there are.
    fn shards(&self) -> usize;
    /// One shard.
    fn shard(&self, index: usize) -> ShardView<'_>;
}

/// What one shard has for [`Op::batch_gradient`].
#[derive(Debug, Clone, Copy)]
pub struct ShardView<'a> {
    /// Samples in the slices.
    pub samples: usize,
    /// The inputs, empty behind the last.
    pub inputs: [&'a [f32]; MAX_INPUTS],
    /// The loss's gradient by the output.
    pub d_output: &'a [f32],
    /// As backward left it.
    pub workspace: &'a [f32],
}

/// A part of an operation's output for one sample, to be predicted by a thread of its own.
#[derive(Debug)]
pub struct Band {
    /// Computes it, with the whole operation's weights.
    pub op: Box<dyn Op>,
    /// What it reads of the operation's first input, and all of the others.
    pub input: Range<usize>,
    /// What it writes of the output, or of each of its rounds.
    pub output: Range<usize>,
}

/// A differentiable operation of known shapes.
pub trait Op: Any + Debug + Send + Sync {
    /// Keras' class name, for summaries.
    fn kind(&self) -> &'static str;

    /// The shape of one sample's output.
    fn output_shape(&self) -> Shape;

    /// The weights, trainable ones first, in Keras' order and layout.
    fn parameters(&self) -> Vec<Parameter> {
        Vec::new()
    }

    /// Floating-point operations of one sample's forward pass in products, a product and a sum as two.
    fn flops(&self) -> f64 {
        0.0
    }

    /// What the operation keeps and uses, for shards of up to `samples` samples and vectors of `lanes` values.
    fn needs(&self, samples: usize, lanes: usize) -> Needs;

    /// The convolution that the operation does, so that its algorithm can be set before anything is laid out.
    fn convolution(&mut self) -> Option<&mut ConvBlock> {
        None
    }

    /// How the operation's products are multiplied, where there is a choice, and the sizes that it depends on.
    fn products(&mut self) -> Option<(String, &mut GemmAlgorithm)> {
        None
    }

    /// The operation in up to `count` bands, which together write the output, or each of its [`rounds`](Self::rounds), in order, all of one length but for the last;
    /// none where it is not worth a second thread or cannot be cut. For predictions of a single sample.
    fn bands(&self, count: usize) -> Vec<Band> {
        let _ = count;
        Vec::new()
    }

    /// The steps that a band's output comes in, one behind another, because each reads all of the last one's: the input is then
    /// followed by the output of the step before, none for the first, the call's slice says which step it is, and the scratch is a step's to keep.
    fn rounds(&self) -> usize {
        1
    }

    /// Into how many slices forward and backward can be cut, each of which reads a part of the weights that stays in cache
    /// while several shards use it.
    fn slices(&self) -> usize {
        1
    }

    /// True for an operation that gives its input's values another shape and has nothing to compute.
    fn is_view(&self) -> bool {
        false
    }

    /// The operation that does this one and then `next` in one pass, if there is one. Its weights are this one's and then
    /// `next`'s.
    fn absorb(&self, next: &dyn Op) -> Option<Box<dyn Op>> {
        let _ = next;
        None
    }

    /// Lengths of the parts of [`Needs::packed`], in order, that threads may write side by side.
    fn packed_lens(&self, lanes: usize) -> Vec<usize> {
        vec![self.needs(1, lanes).packed]
    }

    /// Lays the weights out as the kernels want them, one of [`Op::packed_lens`]; called for each after every change of the weights.
    fn pack(&self, kernels: &'static Kernels, part: usize, parameters: &[f32], packed: &mut [f32]) {
        let _ = (kernels, part, parameters, packed);
    }

    /// All parts, one after another.
    fn pack_all(&self, kernels: &'static Kernels, parameters: &[f32], mut packed: &mut [f32]) {
        for (part, len) in self.packed_lens(kernels.lanes()).into_iter().enumerate() {
            let (own, rest) = packed.split_at_mut(len);
            self.pack(kernels, part, parameters, own);
            packed = rest;
        }
    }

    /// Where the packed weights depend on statistics: lays those out, by what [`Op::combine_forward`] wrote in a training
    /// step, by the state (`sums` is `None`) in a prediction.
    fn fold(
        &self,
        kernels: &'static Kernels,
        parameters: &[f32],
        state: &[f32],
        sums: Option<&[f64]>,
        packed: &mut [f32],
    ) {
        let _ = (kernels, parameters, state, sums, packed);
    }

    /// Where [`Needs::forward_sums`]: this shard's share of the sums, in a training step.
    fn forward_sums(&self, call: &mut Forward<'_>, sums: &mut [f64]) {
        let _ = (call, sums);
    }

    /// Where [`Needs::forward_sums`]: the shards' sums (shards x sums, in order) into one, and the statistics forward.
    fn combine_forward(&self, samples: usize, shards: &[f64], sums: &mut [f64], state: &mut [f32]) {
        let _ = (samples, shards, sums, state);
    }

    /// The output from the inputs.
    fn forward(&self, call: &mut Forward<'_>);

    /// Where [`Needs::backward_sums`]: this shard's share of the sums. It writes `d_parameters`; what it writes to `d_inputs`
    /// is there when [`Op::backward`] is called.
    fn backward_sums(&self, call: &mut Backward<'_>, sums: &mut [f64]) {
        let _ = (call, sums);
    }

    /// Where [`Needs::backward_sums`]: the shards' sums (shards x sums, in order) into one.
    fn combine_backward(&self, samples: usize, shards: &[f64], sums: &mut [f64]) {
        let _ = (samples, shards, sums);
    }

    /// The gradients by the inputs and the weights from the gradient by the output.
    fn backward(&self, call: &mut Backward<'_>);

    /// Where [`Needs::norm_gradient`]: what turns the gradient by the normalised input into that by the input, by what
    /// [`Op::combine_forward`] and [`Op::combine_backward`] wrote.
    fn norm_gradient<'a>(
        &self,
        parameters: &'a [f32],
        sums: &[f64],
        backward_sums: &[f64],
        scratch: &'a mut [f32],
    ) -> Option<NormGradient<'a>> {
        let _ = (parameters, sums, backward_sums, scratch);
        None
    }

    /// Where [`Needs::gradient_block`]: what all calls of [`Op::batch_gradient`] read, made once a step.
    fn gather(&self, kernels: &'static Kernels, batch: &dyn BatchView, gathered: &mut [f32]) {
        let _ = (kernels, batch, gathered);
    }

    /// Where [`Needs::gradient_block`]: the elements `part` of the weights' gradient over the whole batch.
    fn batch_gradient(
        &self,
        kernels: &'static Kernels,
        part: Range<usize>,
        batch: &dyn BatchView,
        gathered: &[f32],
        d_parameters: &mut [f32],
        scratch: &mut [f32],
    ) {
        let _ = (kernels, part, batch, gathered, d_parameters, scratch);
    }

    /// f32 values that [`Op::gather`] writes, and of scratch for one call of [`Op::batch_gradient`], for batches of up to
    /// `samples` samples.
    fn batch_gradient_needs(&self, samples: usize, lanes: usize) -> (usize, usize) {
        let _ = (samples, lanes);
        (0, 0)
    }

    /// True for an operation that can stand at the end of a model and be trained against targets.
    fn is_head(&self) -> bool {
        false
    }

    /// For a head: the sum of the samples' losses, the output and the gradient by the input.
    fn loss(&self, call: &mut LossCall<'_>) -> f64 {
        let _ = call;
        f64::NAN
    }

    /// The definition in `f64`, in training mode, by the naive reference: what gradients are checked against.
    fn oracle(&self, samples: usize, inputs: &[&[f64]], parameters: &[f64]) -> Vec<f64>;
}
