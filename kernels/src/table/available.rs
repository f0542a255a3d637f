//! Which kernels this CPU has, and what they say of themselves.

#[cfg(feature = "emulated512")]
use super::EMULATED512;
#[cfg(target_arch = "x86_64")]
use super::{AVX2, AVX512};
use super::{Kernels, PORTABLE};
use crate::isa::Isa;

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

    /// The kernels of the best instruction set that this CPU has.
    pub fn best() -> &'static Kernels {
        Kernels::of(Isa::best()).unwrap_or(&PORTABLE)
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
        self.isa.lanes()
    }
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kernels({})", self.isa)
    }
}
