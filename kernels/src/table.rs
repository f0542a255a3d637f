//! The one list of kernels: a name, what it checks, and the body that every instruction set instantiates.
//!
//! `kernels!` turns the list into the struct [`Kernels`] (a function pointer an entry), a safe method an entry
//! (checks, then calls), and a `#[target_feature]` shell an instruction set around the generic body.

use crate::activation::{self, Activation};
use crate::conv2d::{self, ConvBlock};
use crate::isa::Isa;
use crate::pool::{self, PoolShape};
use crate::simd::portable::Portable;
use crate::update;

macro_rules! kernels {
    ($(
        $(#[$doc:meta])*
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?
            = $($body:ident)::+, where $check:block
    )*) => {
        /// The kernels of one instruction set that this CPU has.
        pub struct Kernels {
            isa: Isa,
            lanes: usize,
            $($name: unsafe fn($($type),*) $(-> $result)?,)*
        }

        impl Kernels {
            $(
                $(#[$doc])*
                #[inline]
                pub fn $name(&self, $($argument: $type),*) $(-> $result)? {
                    $check
                    // SAFETY: `self` exists only where the CPU has the shell's target features, and the check
                    // above is what the body asks of its arguments.
                    unsafe { (self.$name)($($argument),*) }
                }
            )*
        }

        static PORTABLE: Kernels = {
            $(
                unsafe fn $name($($argument: $type),*) $(-> $result)? {
                    // SAFETY: the caller's promise is handed on.
                    unsafe { $($body)::+(Portable, $($argument),*) }
                }
            )*
            Kernels { isa: Isa::Portable, lanes: 4, $($name,)* }
        };

        #[cfg(feature = "emulated512")]
        static EMULATED512: Kernels = {
            use crate::simd::emulated512::Emulated512;
            $(
                unsafe fn $name($($argument: $type),*) $(-> $result)? {
                    // SAFETY: the caller's promise is handed on.
                    unsafe { $($body)::+(Emulated512, $($argument),*) }
                }
            )*
            Kernels { isa: Isa::Emulated512, lanes: 16, $($name,)* }
        };

        #[cfg(target_arch = "x86_64")]
        static AVX2: Kernels = {
            use crate::simd::avx2::Avx2;
            $(
                #[target_feature(enable = "avx2,fma")]
                unsafe fn $name($($argument: $type),*) $(-> $result)? {
                    // SAFETY: this shell has the token's features; the caller's promise is handed on.
                    unsafe { $($body)::+(Avx2::new(), $($argument),*) }
                }
            )*
            Kernels { isa: Isa::Avx2, lanes: 8, $($name,)* }
        };

        #[cfg(target_arch = "x86_64")]
        static AVX512: Kernels = {
            use crate::simd::avx512::Avx512;
            $(
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                unsafe fn $name($($argument: $type),*) $(-> $result)? {
                    // SAFETY: this shell has the token's features; the caller's promise is handed on.
                    unsafe { $($body)::+(Avx512::new(), $($argument),*) }
                }
            )*
            Kernels { isa: Isa::Avx512, lanes: 16, $($name,)* }
        };
    };
}

impl Kernels {
    /// The kernels of an instruction set, or `None` where this CPU does not have it.
    pub fn of(isa: Isa) -> Option<&'static Kernels> {
        if !isa.is_available() {
            return None;
        }
        match isa {
            Isa::Portable => Some(&PORTABLE),
            #[cfg(feature = "emulated512")]
            Isa::Emulated512 => Some(&EMULATED512),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Some(&AVX2),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => Some(&AVX512),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => None,
        }
    }

    /// The kernels of every instruction set that this CPU has, slowest first.
    pub fn available() -> impl Iterator<Item = &'static Kernels> {
        Isa::available().filter_map(Kernels::of)
    }

    /// The instruction set of these kernels.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// f32 values a vector register.
    pub fn lanes(&self) -> usize {
        self.lanes
    }
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kernels({})", self.isa)
    }
}

kernels! {
    /// `sum[i] += x[i]`.
    ///
    /// # Panics
    /// Where the lengths differ.
    fn add_assign(sum: &mut [f32], x: &[f32]) = update::add_assign, where {
        assert_eq!(sum.len(), x.len());
    }
    /// Stochastic gradient descent: `parameters[i] -= learning_rate * gradients[i]`.
    ///
    /// # Panics
    /// Where the lengths differ.
    fn sgd(parameters: &mut [f32], gradients: &[f32], learning_rate: f32) = update::sgd, where {
        assert_eq!(parameters.len(), gradients.len());
    }
    /// `output[i] = activation(input[i])`.
    ///
    /// # Panics
    /// Where the lengths differ, or a leaky slope is not above 0.
    fn activation_forward(activation: Activation, input: &[f32], output: &mut [f32])
        = activation::forward, where {
        activation.check();
        assert_eq!(input.len(), output.len());
    }
    /// `d_input[i] = activation'(x) * d_output[i]`, the derivative read from the sign of `output[i]`.
    ///
    /// # Panics
    /// Where the lengths differ, or a leaky slope is not above 0.
    fn activation_backward(activation: Activation, output: &[f32], d_output: &[f32], d_input: &mut [f32])
        = activation::backward, where {
        activation.check();
        assert_eq!(output.len(), d_output.len());
        assert_eq!(output.len(), d_input.len());
    }
    /// Max pooling of `samples` NHWC maps: the maxima and their codes (see [`ConvBlock::codes_len`]). Empty codes:
    /// none are written.
    ///
    /// # Panics
    /// Where a length does not fit the shape.
    fn max_pool_forward(
        pool: &PoolShape, samples: usize, input: &[f32], output: &mut [f32], codes: &mut [u8],
    ) = pool::max_pool_forward, where {}
    /// The gradient of [`max_pool_forward`](Kernels::max_pool_forward)'s input; `d_input` is set.
    ///
    /// # Panics
    /// Where a length does not fit the shape, or a code points outside the image.
    fn max_pool_backward(
        pool: &PoolShape, samples: usize, d_output: &[f32], codes: &[u8], d_input: &mut [f32],
    ) = pool::max_pool_backward, where {}
    /// Packs an HWIO kernel for forward and backward; `packed` holds
    /// [`packed_len`](ConvBlock::packed_len)([`lanes`](Kernels::lanes)) values.
    ///
    /// # Panics
    /// Where a length does not fit the block.
    fn conv_block_pack(block: &ConvBlock, kernel: &[f32], packed: &mut [f32]) = conv2d::pack, where {}
    /// Convolution, bias, activation and pool of `samples` samples that stand one after another. `scratch` holds at
    /// least [`forward_scratch_len`](ConvBlock::forward_scratch_len) values, of any content. Empty codes: none are
    /// written, as prediction needs none.
    ///
    /// # Panics
    /// Where a length does not fit the block.
    fn conv_block_forward(
        block: &ConvBlock, samples: usize, input: &[f32], packed: &[f32], bias: &[f32], output: &mut [f32],
        codes: &mut [u8], scratch: &mut [f32],
    ) = conv2d::forward, where {}
    /// The gradients of a block: `d_kernel` (HWIO) and `d_bias` are set to the sum over the samples, `d_input` is set
    /// where it is wanted. `output` and `codes` are what forward wrote, `packed` what it read. `scratch` holds at
    /// least [`backward_scratch_len`](ConvBlock::backward_scratch_len) values, of any content.
    ///
    /// # Panics
    /// Where a length does not fit the block.
    fn conv_block_backward(
        block: &ConvBlock, samples: usize, input: &[f32], output: &[f32], codes: &[u8], d_output: &[f32],
        packed: &[f32], d_input: Option<&mut [f32]>, d_kernel: &mut [f32], d_bias: &mut [f32], scratch: &mut [f32],
    ) = conv2d::backward, where {}
}
