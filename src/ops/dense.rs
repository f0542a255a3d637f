//! Dense layer: x W + b, the activation that it absorbs, and the concatenation that absorbs it.

mod whole_batch;

use super::Activate;
use crate::op::{Backward, Band, BatchView, Forward, Initializer, Needs, Op, Parameter};
use crate::shape::Shape;
use sonograd_kernels::activation::Activation;
use sonograd_kernels::gemm::{GemmAlgorithm, Matrix, gemm_scratch_len};
use sonograd_kernels::{Kernels, reference};
use std::any::Any;
use std::ops::Range;

/// A kernel of this many elements or more gets its gradient over the whole batch: a copy a shard would cost more
/// memory traffic than the products themselves.
const WHOLE_BATCH: usize = 32_768;
/// Columns of a slice of the weights, whole panels of every instruction set.
const SLICE_COLUMNS: usize = 32;
/// Elements of a kernel, 1 MB, from which on it does not stay in a second-level cache by itself.
const SLICED: usize = 1 << 18;
/// Elements of a kernel, 256 KB, from which on one sample waits for them.
const BANDED: usize = 1 << 16;
/// Elements of a kernel that one task packs.
const PACKED: usize = 1 << 17;
/// Units from which on the products may be left to tiles: fewer leave most of one empty.
const MULTIPLIED_UNITS: usize = 16;

/// y = activation(x W + b) with W of inputs x units, where x may stand in several parts: x1 W1 + x2 W2 + b then.
#[derive(Debug, Clone)]
pub struct Dense {
    inputs: usize,
    /// The widths of the parts that x stands in.
    widths: Vec<usize>,
    units: usize,
    activation: Activation,
    /// How forward, the input's gradient and the whole-batch gradient are multiplied.
    products: GemmAlgorithm,
    /// The columns that a band of a prediction computes; all where there are no bands.
    band: Option<Range<usize>>,
}

impl Dense {
    /// For an input of one axis.
    ///
    /// # Errors
    /// A message where the input has another number of axes or there are 0 units.
    pub fn new(input: &Shape, units: usize) -> Result<Self, String> {
        let &[inputs] = input.extents() else {
            return Err(format!("its input is a row, not {input}: flatten it first"));
        };
        if units == 0 {
            return Err("0 units: it must have at least 1".into());
        }
        Ok(Self {
            inputs,
            widths: vec![inputs],
            units,
            activation: Activation::Linear,
            products: GemmAlgorithm::F32,
            band: None,
        })
    }

    /// The same layer over parts of these widths, where they add up to its inputs and it has only one part.
    pub(super) fn over(&self, widths: &[usize]) -> Option<Self> {
        let fits = self.widths.len() == 1 && widths.iter().sum::<usize>() == self.inputs;
        fits.then(|| Self {
            widths: widths.to_vec(),
            ..self.clone()
        })
    }

    /// The rows of the kernel that each part of x meets.
    fn parts(&self) -> impl Iterator<Item = Range<usize>> {
        self.widths.iter().scan(0, |end, &width| {
            *end += width;
            Some(*end - width..*end)
        })
    }

    /// What is packed side by side: for forward columns of the kernel, then for the input's gradient those of its transpose.
    fn packed_parts(&self) -> impl Iterator<Item = PackedPart> {
        [false, true].into_iter().flat_map(move |transposed| {
            self.parts().flat_map(move |rows| {
                let (depth, columns) = match transposed {
                    false => (rows.len(), self.units),
                    true => (self.units, rows.len()),
                };
                let most = (PACKED / depth.max(1)).max(1);
                let width = most.next_multiple_of(SLICE_COLUMNS);
                (0..columns).step_by(width).map(move |first| PackedPart {
                    rows: rows.clone(),
                    transposed,
                    depth,
                    columns: first..columns.min(first + width),
                })
            })
        })
    }

    /// Length of the packed kernel of forward.
    fn forward_len(&self, lanes: usize) -> usize {
        let lens = self.widths.iter();
        lens.map(|&width| self.products.packed_len(width, self.units, lanes))
            .sum()
    }

    fn kernel_len(&self) -> usize {
        self.inputs * self.units
    }

    fn is_whole_batch(&self) -> bool {
        self.kernel_len() >= WHOLE_BATCH
    }

    /// A slice's share of `columns`.
    fn slice(&self, slice: usize, columns: usize) -> Range<usize> {
        share(columns, slice, self.slices())
    }

    /// The gradient before the activation: kept in the workspace where there is an activation.
    fn before_activation<'a>(&self, d_output: &'a [f32], workspace: &'a [f32]) -> &'a [f32] {
        if self.activation == Activation::Linear {
            d_output
        } else {
            workspace
        }
    }

    /// The same layer with an activation of its output.
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }
}

/// Columns of B of one of the layer's products.
struct PackedPart {
    /// The rows of the kernel that it is made of.
    rows: Range<usize>,
    /// B is their transpose.
    transposed: bool,
    /// B's rows.
    depth: usize,
    columns: Range<usize>,
}

impl PackedPart {
    fn len(&self, products: GemmAlgorithm, lanes: usize) -> usize {
        products.packed_len(self.depth, self.columns.len(), lanes)
    }
}

/// Part `i` of `count` nearly equal parts of the columns, whole panels each but the last; the last ones may be empty.
fn share(columns: usize, i: usize, count: usize) -> Range<usize> {
    let width = columns.div_ceil(count).next_multiple_of(SLICE_COLUMNS);
    columns.min(i * width)..columns.min((i + 1) * width)
}

/// Row-major rows x columns.
fn rows(data: &[f32], columns: usize) -> Matrix<'_> {
    Matrix {
        data,
        row_stride: columns,
        column_stride: 1,
    }
}

/// The transpose of a row-major matrix of `columns` columns.
fn transposed(data: &[f32], columns: usize) -> Matrix<'_> {
    Matrix {
        data,
        row_stride: 1,
        column_stride: columns,
    }
}

impl Op for Dense {
    fn kind(&self) -> &'static str {
        "Dense"
    }

    fn output_shape(&self) -> Shape {
        Shape::from([self.units])
    }

    fn parameters(&self) -> Vec<Parameter> {
        vec![
            Parameter::new(
                "kernel",
                [self.inputs, self.units],
                Initializer::GlorotUniform,
            ),
            Parameter::new("bias", [self.units], Initializer::Zeros),
        ]
    }

    fn flops(&self) -> f64 {
        2.0 * self.kernel_len() as f64
    }

    fn needs(&self, samples: usize, lanes: usize) -> Needs {
        let units = self.units;
        let products = self.widths.iter().flat_map(|&width| {
            [
                (samples, units, width),
                (samples, width, units),
                (width, units, samples),
            ]
        });
        let algorithm = self.products;
        let scratch = products.map(|(m, n, k)| {
            // A partial gradient is f32's in any case.
            let own = algorithm.scratch_len(m, n, k, lanes);
            own.max(gemm_scratch_len(m, n, k, lanes))
        });
        let linear = self.activation == Activation::Linear;
        Needs {
            workspace: if linear { 0 } else { units },
            scratch: scratch.max().unwrap_or(0),
            packed: (self.packed_parts())
                .map(|part| part.len(algorithm, lanes))
                .sum(),
            reads_inputs: true,
            reads_output: !linear,
            gradient_block: if self.is_whole_batch() {
                self.block_rows() * units
            } else {
                0
            },
            ..Needs::default()
        }
    }

    fn products(&mut self) -> Option<(String, &mut GemmAlgorithm)> {
        let (inputs, units) = (self.inputs, self.units);
        let fills_tiles =
            self.widths.len() == 1 && self.is_whole_batch() && units >= MULTIPLIED_UNITS;
        fills_tiles.then(|| (format!("dense {inputs} to {units}"), &mut self.products))
    }

    fn absorb(&self, next: &dyn Op) -> Option<Box<dyn Op>> {
        let next: &dyn Any = next;
        let next = next.downcast_ref::<Activate>()?;
        (self.activation == Activation::Linear).then(|| {
            Box::new(Self {
                activation: next.activation,
                ..self.clone()
            }) as Box<dyn Op>
        })
    }

    fn packed_lens(&self, lanes: usize) -> Vec<usize> {
        let parts = self.packed_parts();
        parts.map(|part| part.len(self.products, lanes)).collect()
    }

    fn pack(&self, kernels: &'static Kernels, part: usize, parameters: &[f32], packed: &mut [f32]) {
        let Some(part) = self.packed_parts().nth(part) else {
            return;
        };
        let (units, first) = (self.units, part.columns.start);
        let kernel = &parameters[part.rows.start * units..part.rows.end * units];
        let b = match part.transposed {
            false => rows(&kernel[first..], units),
            true => transposed(&kernel[first * units..], units),
        };
        kernels.product_pack(self.products, part.depth, part.columns.len(), b, packed);
    }

    fn slices(&self) -> usize {
        match self.kernel_len() {
            SLICED.. => self.inputs.max(self.units).div_ceil(SLICE_COLUMNS),
            _ => 1,
        }
    }

    /// One sample waits for the weights: each thread reads those of its columns. On one thread a single band is faster than slices.
    fn bands(&self, count: usize) -> Vec<Band> {
        if self.kernel_len() < BANDED {
            return Vec::new();
        }
        (0..count)
            .map(|i| share(self.units, i, count))
            .filter(|columns| !columns.is_empty())
            .map(|columns| Band {
                op: Box::new(Self {
                    band: Some(columns.clone()),
                    ..self.clone()
                }),
                input: 0..self.widths[0],
                output: columns,
            })
            .collect()
    }

    fn forward(&self, call: &mut Forward<'_>) {
        let units = self.units;
        let (columns, first) = match &self.band {
            // The output is the band's.
            Some(band) => (band.clone(), 0),
            None => {
                let columns = self.slice(call.slice, units);
                (columns.clone(), columns.start)
            }
        };
        if columns.is_empty() {
            return;
        }
        let bias = &call.parameters[self.kernel_len()..][columns.clone()];
        let mut packed = call.packed;
        for (i, &width) in self.widths.iter().enumerate() {
            let last = i + 1 == self.widths.len();
            let len = self.products.packed_len(width, units, call.kernels.lanes());
            let (own, rest) = packed.split_at(len);
            packed = rest;
            call.kernels.product(
                self.products,
                call.training,
                (call.samples, columns.clone(), width),
                rows(call.inputs[i], width),
                call.slice > 0,
                own,
                &mut call.output[first..],
                units,
                i > 0,
                (i == 0).then_some(bias),
                if last {
                    self.activation
                } else {
                    Activation::Linear
                },
                call.scratch,
            );
        }
    }

    fn backward(&self, call: &mut Backward<'_>) {
        let (units, samples, kernels) = (self.units, call.samples, call.kernels);
        let is_first = call.slice == 0;
        if is_first && self.activation != Activation::Linear {
            kernels.activation_backward(
                self.activation,
                call.output,
                call.d_output,
                call.workspace,
            );
        }
        let d_output = self.before_activation(call.d_output, call.workspace);
        if is_first && !self.is_whole_batch() {
            let (d_kernel, d_bias) = call.d_parameters.split_at_mut(self.kernel_len());
            let d_y = rows(d_output, units);
            for (x, part) in call.inputs.iter().zip(self.parts()) {
                let width = part.len();
                kernels.gemm(
                    width,
                    units,
                    samples,
                    transposed(x, width),
                    d_y,
                    &mut d_kernel[part.start * units..part.end * units],
                    units,
                    false,
                    call.scratch,
                );
            }
            kernels.column_sums(samples, units, d_output, d_bias);
        }
        let mut packed = &call.packed[self.forward_len(kernels.lanes())..];
        for (d_input, &width) in call.d_inputs.iter_mut().zip(&self.widths) {
            let len = self.products.packed_len(units, width, kernels.lanes());
            let (own, rest) = packed.split_at(len);
            packed = rest;
            let columns = self.slice(call.slice, width);
            if let Some(d_input) = d_input
                && !columns.is_empty()
            {
                kernels.product(
                    self.products,
                    true,
                    (samples, columns.clone(), units),
                    rows(d_output, units),
                    !is_first,
                    own,
                    &mut d_input[columns.start..],
                    width,
                    false,
                    None,
                    Activation::Linear,
                    call.scratch,
                );
            }
        }
    }

    fn gather(&self, kernels: &'static Kernels, batch: &dyn BatchView, gathered: &mut [f32]) {
        self.gather_gradients(kernels, batch, gathered);
    }

    fn batch_gradient(
        &self,
        kernels: &'static Kernels,
        part: Range<usize>,
        batch: &dyn BatchView,
        gathered: &[f32],
        d_parameters: &mut [f32],
        scratch: &mut [f32],
    ) {
        self.gradient_of_block(kernels, part, batch, gathered, d_parameters, scratch);
    }

    fn batch_gradient_needs(&self, samples: usize, lanes: usize) -> (usize, usize) {
        self.whole_batch_needs(samples, lanes)
    }

    fn oracle(&self, samples: usize, inputs: &[&[f64]], parameters: &[f64]) -> Vec<f64> {
        let (kernel, bias) = parameters.split_at(self.kernel_len());
        let mut output = Vec::with_capacity(samples * self.units);
        for n in 0..inputs[0].len() / self.widths[0] {
            let parts = inputs.iter().zip(&self.widths);
            let x = parts.flat_map(|(x, &width)| &x[n * width..(n + 1) * width]);
            let x: Vec<f64> = x.copied().collect();
            output.extend((0..self.units).map(|j| {
                bias[j]
                    + x.iter()
                        .zip(kernel[j..].iter().step_by(self.units))
                        .map(|(x, w)| x * w)
                        .sum::<f64>()
            }));
        }
        reference::activation_forward(self.activation, &output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::check;

    #[test]
    fn gradients_alone_fused_and_over_the_whole_batch() {
        for (inputs, units, samples) in [
            (1, 1, 1),
            (7, 3, 5),
            (33, 17, 16),
            (4100, 8, 3),
            (2200, 15, 17),
            // Cut into slices, the last one narrower.
            (300, 900, 3),
            (300, 110, 5),
        ] {
            let input = Shape::from([inputs]);
            for products in [GemmAlgorithm::F32, GemmAlgorithm::Bf16x6] {
                let mut plain = Dense::new(&input, units).unwrap();
                plain.products = products;
                let relu = Activate::new(Activation::Relu, &plain.output_shape());
                let fused = plain.absorb(&relu).unwrap();
                check::op(&*fused, std::slice::from_ref(&input), samples);
                check::op(&plain, std::slice::from_ref(&input), samples);
            }
        }
    }

    #[test]
    fn parts_of_the_packed_kernel_are_the_whole_one() {
        for (inputs, units) in [(1, 1), (200_000, 2), (300, 900), (1280, 1024)] {
            let mut dense = Dense::new(&Shape::from([inputs]), units).unwrap();
            for &products in GemmAlgorithm::ALL {
                dense.products = products;
                for lanes in [4, 8, 16] {
                    let both = [(inputs, units), (units, inputs)];
                    let whole = both.map(|(k, n)| products.packed_len(k, n, lanes));
                    let parts = dense.packed_lens(lanes);
                    assert_eq!(parts.iter().sum::<usize>(), whole.iter().sum::<usize>());
                }
            }
        }
    }
}
