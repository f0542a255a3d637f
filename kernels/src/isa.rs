//! Instruction sets: which ones this CPU has, and which one runs.

use crate::named;
use std::fmt;
use std::str::FromStr;

/// An instruction set that the kernels are built for, slowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// What the compiler targets by default, through the crate `wide`: SSE2 on x86-64, NEON on Arm. 4 lanes.
    Portable,
    /// AVX-512's code paths (16 lanes, 32 registers) in portable instructions. For tests on CPUs without AVX-512.
    #[cfg(feature = "emulated512")]
    Emulated512,
    /// AVX2 with FMA and POPCNT. 8 lanes.
    Avx2,
    /// AVX-512 F, BW, DQ and VL. 16 lanes.
    Avx512,
}

impl Isa {
    /// Every instruction set that the program was built with, slowest first, whether this CPU has it or not.
    pub const ALL: &'static [Isa] = &[
        Isa::Portable,
        #[cfg(feature = "emulated512")]
        Isa::Emulated512,
        Isa::Avx2,
        Isa::Avx512,
    ];

    /// The name that the command line and `SONOGRAD_ISA` use.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            #[cfg(feature = "emulated512")]
            Isa::Emulated512 => "emulated512",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
        }
    }

    /// f32 values a vector register.
    pub fn lanes(self) -> usize {
        match self {
            Isa::Portable => 4,
            #[cfg(feature = "emulated512")]
            Isa::Emulated512 => 16,
            Isa::Avx2 => 8,
            Isa::Avx512 => 16,
        }
    }

    /// True where this CPU, and the operating system on it, can run the set.
    pub fn is_available(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(feature = "emulated512")]
            Isa::Emulated512 => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("popcnt")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Isa::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 => false,
        }
    }

    /// The sets that this CPU can run, slowest first. Never empty.
    pub fn available() -> impl Iterator<Item = Isa> {
        Self::ALL.iter().copied().filter(|isa| isa.is_available())
    }

    /// The fastest set that this CPU can run.
    pub fn best() -> Isa {
        Self::available().last().unwrap_or(Isa::Portable)
    }

    /// The set that `SONOGRAD_ISA` asks for, or the best one where it is not set or empty.
    ///
    /// # Errors
    /// A message where the variable names no set, or one that this CPU does not have.
    pub fn from_environment() -> Result<Isa, String> {
        Ok(named::from_environment("SONOGRAD_ISA")?.unwrap_or_else(Isa::best))
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = String;

    /// Parses a name and checks that this CPU can run it.
    fn from_str(name: &str) -> Result<Self, String> {
        let isa: Isa = named::parse("instruction set", name, Self::ALL)?;
        if !isa.is_available() {
            let here: Vec<_> = Self::available().map(Isa::name).collect();
            return Err(format!(
                "this CPU has no {name}: it has {}",
                here.join(", ")
            ));
        }
        Ok(isa)
    }
}
