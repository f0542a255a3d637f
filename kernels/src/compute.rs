//! Which kernels run: the same ones from run to run, by a rule from the CPU's features and what was asked for.

use crate::conv2d::{ConvAlgorithm, ConvBlock, two_taps, winograd};
use crate::gemm::GemmAlgorithm;
use crate::isa::Isa;
use crate::named;
use crate::tiles;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// How exact the products have to be. Sums and weights are f32 in any case, and so are the gradients of convolutions that are not
/// computed as products of matrices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Precision {
    /// Like f32's, or better.
    #[default]
    F32,
    /// Where the CPU has tiles, f32's values in two bf16 parts in prediction, which errs by up to 2^-15 of a sum's magnitude,
    /// and in three in training, which does not: less would let near ties of a pool fall otherwise. Else f32.
    Fast,
    /// Products of values rounded to bf16, 2^-7, also where they are slower: so that every machine shows what they do.
    Bf16,
}

impl Precision {
    /// Every precision, most exact first.
    pub const ALL: &'static [Precision] = &[Precision::F32, Precision::Fast, Precision::Bf16];

    /// The name that the command line uses.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Fast => "fast",
            Precision::Bf16 => "bf16",
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        named::parse("precision", name, Self::ALL)
    }
}

/// What was fastest on this machine, by what [`Compute::algorithm`] and [`Compute::products`] are asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tuned {
    /// By a block's [`Display`](fmt::Display).
    pub convolutions: BTreeMap<String, ConvAlgorithm>,
    /// By a layer's sizes.
    pub products: BTreeMap<String, GemmAlgorithm>,
}

/// What a model is computed with.
#[derive(Debug, Clone, PartialEq)]
pub struct Compute {
    /// The instruction set.
    pub isa: Isa,
    /// What products may lose.
    pub precision: Precision,
    /// Computes every convolution, whatever is tuned and whatever the precision.
    pub convolution: Option<ConvAlgorithm>,
    /// The same for the products of every dense layer and LSTM that has a choice.
    pub product: Option<GemmAlgorithm>,
    /// It goes before the rule.
    pub tuned: Tuned,
}

impl From<Isa> for Compute {
    /// In f32, by the rule alone.
    fn from(isa: Isa) -> Self {
        Self {
            isa,
            precision: Precision::F32,
            convolution: None,
            product: None,
            tuned: Tuned::default(),
        }
    }
}

impl Compute {
    /// True where bf16 products are done by the CPU's tiles, and not emulated.
    pub fn has_tiles(&self) -> bool {
        self.isa == Isa::Avx512 && tiles::are_available()
    }

    /// How a block is computed.
    pub fn algorithm(&self, block: &ConvBlock) -> ConvAlgorithm {
        self.convolution
            .or_else(|| self.tuned.convolutions.get(&block.to_string()).copied())
            .unwrap_or_else(|| self.rule(block))
    }

    /// [`ConvAlgorithm::choose`], and in its place tiles of bf16 where the precision allows them and both the image's
    /// channels and the filters fill half a tile.
    fn rule(&self, block: &ConvBlock) -> ConvAlgorithm {
        let chosen = ConvAlgorithm::choose(block, self.isa.lanes());
        let (conv, half) = (&block.conv, tiles::DEPTH / 2);
        if conv.in_channels.min(conv.out_channels) < half {
            return chosen;
        }
        match (chosen, self.precision) {
            (ConvAlgorithm::Im2colGemm | ConvAlgorithm::Winograd1d, Precision::Fast)
                if self.has_tiles() =>
            {
                ConvAlgorithm::Im2colBf16x6
            }
            (ConvAlgorithm::Im2colGemm | ConvAlgorithm::Winograd1d, Precision::Bf16) => {
                ConvAlgorithm::Im2colBf16
            }
            (_, Precision::Fast) if self.has_tiles() => ConvAlgorithm::Bf16x6x3,
            (_, Precision::Bf16) => ConvAlgorithm::Bf16,
            _ => chosen,
        }
    }

    /// The algorithms that are worth timing for a block: no less exact than the precision, and in bf16 no more exact either.
    pub fn candidates(&self, block: &ConvBlock) -> Vec<ConvAlgorithm> {
        let rule = self.rule(block);
        if matches!(rule, ConvAlgorithm::Bf16 | ConvAlgorithm::Im2colBf16) {
            return vec![rule];
        }
        let mut candidates = vec![ConvAlgorithm::Direct, ConvAlgorithm::Im2colGemm];
        if winograd::form(block, self.isa.lanes()).is_some() {
            candidates.push(ConvAlgorithm::Winograd);
        }
        if two_taps::applies(&block.conv) {
            candidates.push(ConvAlgorithm::Winograd1d);
        }
        if self.has_tiles() {
            candidates.extend([ConvAlgorithm::Bf16x6, ConvAlgorithm::Im2colBf16x6]);
            if self.precision == Precision::Fast {
                candidates.push(ConvAlgorithm::Bf16x6x3);
            }
        }
        candidates
    }

    /// How the products of a layer of these sizes are multiplied.
    pub fn products(&self, sizes: &str) -> GemmAlgorithm {
        self.product
            .or_else(|| self.tuned.products.get(sizes).copied())
            .unwrap_or_else(|| self.product_rule())
    }

    /// bf16 where that is asked for; where the CPU has tiles and may be less exact in prediction, parts of it; else f32.
    fn product_rule(&self) -> GemmAlgorithm {
        match self.precision {
            Precision::Fast if self.has_tiles() => GemmAlgorithm::Bf16x6x3,
            Precision::Bf16 => GemmAlgorithm::Bf16,
            _ => GemmAlgorithm::F32,
        }
    }

    /// The algorithms of products that are worth timing, as [`candidates`](Self::candidates) are.
    pub fn product_candidates(&self) -> Vec<GemmAlgorithm> {
        match (self.precision, self.has_tiles()) {
            (Precision::Bf16, _) | (_, false) => vec![self.product_rule()],
            (Precision::F32, true) => vec![GemmAlgorithm::F32, GemmAlgorithm::Bf16x6],
            (Precision::Fast, true) => vec![
                GemmAlgorithm::F32,
                GemmAlgorithm::Bf16x6,
                GemmAlgorithm::Bf16x6x3,
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Compute, Precision};
    use crate::{Activation, Conv2dShape, ConvAlgorithm, ConvBlock, GemmAlgorithm, Isa};

    fn block(channels: usize) -> ConvBlock {
        ConvBlock::new(
            Conv2dShape {
                height: 9,
                width: 9,
                in_channels: channels,
                out_channels: 32,
                kernel_height: 3,
                kernel_width: 3,
                pad_top: 0,
                pad_left: 0,
                out_height: 7,
                out_width: 7,
            },
            Activation::Relu,
            None,
        )
    }

    #[test]
    fn names_are_read_back_and_others_refused_with_the_choice() {
        for &precision in Precision::ALL {
            assert_eq!(precision.to_string().parse(), Ok(precision));
        }
        let error = "f16".parse::<Precision>().unwrap_err();
        assert_eq!(error, "unknown precision 'f16': one of f32, fast, bf16");
    }

    #[test]
    fn precision_then_what_was_tuned_then_what_was_asked_for() {
        let mut compute = Compute::from(Isa::Portable);
        assert_eq!(compute.algorithm(&block(32)), ConvAlgorithm::Winograd);
        compute.precision = Precision::Fast;
        assert_eq!(compute.algorithm(&block(32)), ConvAlgorithm::Winograd);
        compute.precision = Precision::Bf16;
        assert_eq!(compute.algorithm(&block(32)), ConvAlgorithm::Bf16);
        assert_eq!(compute.algorithm(&block(1)), ConvAlgorithm::Winograd);
        let key = block(32).to_string();
        compute
            .tuned
            .convolutions
            .insert(key, ConvAlgorithm::Im2colGemm);
        assert_eq!(compute.algorithm(&block(32)), ConvAlgorithm::Im2colGemm);
        assert_eq!(compute.algorithm(&block(33)), ConvAlgorithm::Bf16);
        compute.convolution = Some(ConvAlgorithm::Naive);
        assert_eq!(compute.algorithm(&block(32)), ConvAlgorithm::Naive);
    }

    #[test]
    fn products_likewise() {
        let mut compute = Compute::from(Isa::Portable);
        assert_eq!(compute.products("dense"), GemmAlgorithm::F32);
        assert_eq!(compute.product_candidates(), [GemmAlgorithm::F32]);
        compute.precision = Precision::Fast;
        assert_eq!(compute.products("dense"), GemmAlgorithm::F32, "no tiles");
        compute.precision = Precision::Bf16;
        assert_eq!(compute.products("dense"), GemmAlgorithm::Bf16);
        assert_eq!(compute.product_candidates(), [GemmAlgorithm::Bf16]);
        let tuned = &mut compute.tuned.products;
        tuned.insert("dense".into(), GemmAlgorithm::Bf16x6);
        assert_eq!(compute.products("dense"), GemmAlgorithm::Bf16x6);
        assert_eq!(compute.products("lstm"), GemmAlgorithm::Bf16);
        compute.product = Some(GemmAlgorithm::F32);
        assert_eq!(compute.products("lstm"), GemmAlgorithm::F32);
    }

    #[test]
    fn blocks_of_other_shapes_have_other_names() {
        assert_eq!(
            block(32).to_string(),
            "9x9x32 by 3x3 to 7x7x32, padding 0+0, relu"
        );
    }
}
