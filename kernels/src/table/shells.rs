//! What the list of kernels becomes: the struct, the checked methods, and the shells of every instruction set.

macro_rules! kernels {
    ($(
        $(#[$doc:meta])*
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)?
            = $($body:ident)::+, where $(|$kernels:ident|)? $check:block
    )*) => {
        /// The kernels of one instruction set that this CPU has.
        pub struct Kernels {
            isa: Isa,
            $($name: unsafe fn($($type),*) $(-> $result)?,)*
        }

        impl Kernels {
            $(
                $(#[$doc])*
                #[inline]
                pub fn $name(&self, $($argument: $type),*) $(-> $result)? {
                    $(let $kernels = self;)?
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
            Kernels { isa: Isa::Portable, $($name,)* }
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
            Kernels { isa: Isa::Emulated512, $($name,)* }
        };

        #[cfg(target_arch = "x86_64")]
        static AVX2: Kernels = {
            use crate::simd::avx2::Avx2;
            $(
                #[target_feature(enable = "avx2,fma,popcnt")]
                unsafe fn $name($($argument: $type),*) $(-> $result)? {
                    // SAFETY: this shell has the token's features; the caller's promise is handed on.
                    unsafe { $($body)::+(Avx2::new(), $($argument),*) }
                }
            )*
            Kernels { isa: Isa::Avx2, $($name,)* }
        };

        #[cfg(target_arch = "x86_64")]
        static AVX512: Kernels = {
            use crate::simd::avx512::Avx512;
            $(
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,popcnt")]
                unsafe fn $name($($argument: $type),*) $(-> $result)? {
                    // SAFETY: this shell has the token's features; the caller's promise is handed on.
                    unsafe { $($body)::+(Avx512::new(), $($argument),*) }
                }
            )*
            Kernels { isa: Isa::Avx512, $($name,)* }
        };
    };
}
pub(super) use kernels;
