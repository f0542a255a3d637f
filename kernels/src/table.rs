//! The one list of kernels: a name, what it checks, and the body that every instruction set instantiates.
//!
//! `kernels!` turns the list into the struct [`Kernels`] (a function pointer an entry), a safe method an entry
//! (checks, then calls), and a `#[target_feature]` shell an instruction set around the generic body.

use crate::isa::Isa;
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
}
