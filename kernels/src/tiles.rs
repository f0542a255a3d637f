//! Products of bf16 matrices in blocks of 32 x 32, summed in f32: by AMX's tiles where the CPU has them, else emulated.
//!
//! Which of the two runs follows from the token and the CPU alone: AVX-512's uses the tiles if there are any, every other
//! computes the same products in f32 (a product of two bf16 values is exact there) and adds them up in another order.

use crate::simd::Simd;

/// Rows of A, and of the output, that one block computes.
pub(crate) const ROWS: usize = 32;
/// The rows of half a block.
pub(crate) const HALF: usize = ROWS / 2;
/// Columns of B, and of the output, that one block computes.
pub(crate) const COLUMNS: usize = 32;
/// Terms of the sum that one step adds: a row of A is so many bf16 values, 64 bytes.
pub(crate) const DEPTH: usize = 32;
/// bf16 values that one step reads of B.
pub(crate) const B_LEN: usize = DEPTH * COLUMNS;

/// The place of a term `2 * pair + half` and a column in one step's B: two tiles of 16 columns, in each of them pairs of
/// terms side by side, as `TDPBF16PS` reads them.
pub(crate) fn b_index(term: usize, column: usize) -> usize {
    (column / 16) * (DEPTH * 16) + (term / 2) * 32 + (column % 16) * 2 + term % 2
}

/// Which part of A meets which of B: offsets in bytes from the block's A and from B.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Step {
    pub(crate) a: u32,
    pub(crate) b: u32,
}

/// Permission to use the tiles on this thread, for as long as it lives.
pub(crate) struct Session {
    amx: bool,
}

impl Session {
    /// Sets the tiles up where token and CPU have them.
    #[inline(always)]
    pub(crate) fn new<S: Simd>() -> Self {
        let amx = S::TILES && are_available();
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if amx {
            // SAFETY: the tiles are available.
            unsafe { amx::configure() };
        }
        Self { amx }
    }

    /// `c[row, column] = sum over steps and terms of A[row, term] * B[term, column]`.
    ///
    /// A's rows stand one after another, 64 bytes each, and so do C's, of 32 f32.
    ///
    /// # Safety
    /// `a` may be read for 32 rows at each step's offset, `b` for [`B_LEN`] values at each step's, `c` written for 32 x 32
    /// values. There is at least one step.
    #[inline(always)]
    pub(crate) unsafe fn multiply<S: Simd>(
        &self,
        s: S,
        steps: *const Step,
        count: usize,
        a: *const u16,
        b: *const u16,
        c: *mut f32,
    ) {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if self.amx {
            // SAFETY: the session has set the tiles up; the rest is the caller's promise.
            return unsafe { amx::multiply(steps, count, a, b, c) };
        }
        // SAFETY: the caller's promise.
        unsafe { emulated::<S, ROWS>(s, steps, count, a, b, c) }
    }

    /// The same for 16 rows of A. C is two blocks of 16 rows, one behind the other, whose sum is the product: the steps take
    /// turns with them, as a tile's next product waits for its last one.
    ///
    /// # Safety
    /// As for [`multiply`](Self::multiply), but for 16 rows of A; the number of steps is even.
    #[inline(always)]
    pub(crate) unsafe fn multiply_half<S: Simd>(
        &self,
        s: S,
        steps: *const Step,
        count: usize,
        a: *const u16,
        b: *const u16,
        c: *mut f32,
    ) {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if self.amx {
            // SAFETY: the session has set the tiles up; the rest is the caller's promise.
            return unsafe { amx::multiply_half(steps, count, a, b, c) };
        }
        // SAFETY: the caller's promise.
        unsafe { emulated::<S, HALF>(s, steps, count, a, b, c) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
        if self.amx {
            // SAFETY: the session has set the tiles up.
            unsafe { amx::release() };
        }
    }
}

/// True where the CPU has tiles for bf16 and the operating system lets this process use them. Asked once.
pub(crate) fn are_available() -> bool {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    {
        static AVAILABLE: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
        *AVAILABLE.get_or_init(amx::ask)
    }
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    false
}

/// The f32 that a bf16 stands for.
#[inline(always)]
fn widen(x: u16) -> f32 {
    f32::from_bits(u32::from(x) << 16)
}

/// The first R rows of C; what lies behind them becomes 0.
///
/// # Safety
/// As for [`Session::multiply`], with R rows of A.
#[inline(always)]
unsafe fn emulated<S: Simd, const R: usize>(
    s: S,
    steps: *const Step,
    count: usize,
    a: *const u16,
    b: *const u16,
    c: *mut f32,
) {
    const ROW_BLOCK: usize = 4;
    // SAFETY: the caller's promise; every index stays in its 32 x 32 block.
    unsafe {
        c.write_bytes(0, ROWS * COLUMNS);
        for i in 0..count {
            let step = *steps.add(i);
            let (a, b) = (a.byte_add(step.a as usize), b.byte_add(step.b as usize));
            let mut wide_b = [0.0; B_LEN];
            for half in 0..COLUMNS / 16 {
                for pair in 0..DEPTH / 2 {
                    for column in 0..16 {
                        let from = b.add(half * (DEPTH * 16) + pair * 32 + column * 2);
                        let to = 2 * pair * COLUMNS + half * 16 + column;
                        wide_b[to] = widen(*from);
                        wide_b[to + COLUMNS] = widen(*from.add(1));
                    }
                }
            }
            let mut wide_a = [0.0; ROWS * DEPTH];
            for (j, x) in wide_a.iter_mut().enumerate().take(R * DEPTH) {
                *x = widen(*a.add(j));
            }
            for row in (0..R).step_by(ROW_BLOCK) {
                for column in (0..COLUMNS).step_by(S::LANES) {
                    let c = c.add(row * COLUMNS + column);
                    let mut sums = [s.zero(); ROW_BLOCK];
                    for r in 0..ROW_BLOCK {
                        sums[r] = s.load(c.add(r * COLUMNS));
                    }
                    for term in 0..DEPTH {
                        let w = s.load(wide_b.as_ptr().add(term * COLUMNS + column));
                        for r in 0..ROW_BLOCK {
                            let x = s.splat(wide_a[(row + r) * DEPTH + term]);
                            sums[r] = s.mul_add(x, w, sums[r]);
                        }
                    }
                    for r in 0..ROW_BLOCK {
                        s.store(c.add(r * COLUMNS), sums[r]);
                    }
                }
            }
        }
    }
}

/// Intel's Advanced Matrix Extensions, whose intrinsics are not stable: Intel 64 and IA-32 Architectures Software
/// Developer's Manual, volume 1, chapter 18.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx {
    use super::Step;
    use std::arch::asm;
    use std::arch::x86_64::__cpuid_count;

    /// The XSAVE state of the tiles' data, which Linux switches on for those who ask.
    const XFEATURE_XTILEDATA: usize = 18;
    /// `arch_prctl`'s request (`Documentation/arch/x86/xstate.rst` of the kernel).
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    /// Bits of CPUID.(7, 0).EDX.
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;

    pub(super) fn ask() -> bool {
        let wanted = AMX_BF16 | AMX_TILE;
        if __cpuid_count(0, 0).eax < 7 || __cpuid_count(7, 0).edx & wanted != wanted {
            return false;
        }
        // SAFETY: the call has two integers as arguments, and changes nothing but this process' permission.
        unsafe {
            libc::syscall(
                libc::SYS_arch_prctl,
                ARCH_REQ_XCOMP_PERM,
                XFEATURE_XTILEDATA,
            ) == 0
        }
    }

    /// `LDTILECFG`'s operand.
    #[repr(C, align(64))]
    struct Configuration {
        palette: u8,
        start_row: u8,
        reserved: [u8; 14],
        row_bytes: [u16; 16],
        rows: [u8; 16],
    }

    /// All eight tiles of 16 rows of 64 bytes.
    static FULL: Configuration = {
        let mut configuration = Configuration {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        let mut i = 0;
        while i < 8 {
            configuration.row_bytes[i] = 64;
            configuration.rows[i] = 16;
            i += 1;
        }
        configuration
    };

    /// # Safety
    /// The tiles are available.
    #[inline(always)]
    pub(super) unsafe fn configure() {
        // SAFETY: reads 64 bytes; the tiles belong to nobody else on this thread, the compiler does not use them.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const FULL, options(nostack, readonly)) };
    }

    /// # Safety
    /// The tiles are available.
    #[inline(always)]
    pub(super) unsafe fn release() {
        // SAFETY: the tiles' content is nobody's any more.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }

    /// Four tiles of sums, from zero over all steps to C: `$step` is what a turn of the loop loads and multiplies, `$bytes` the length of the
    /// steps that it takes. It names the step `{step}`, A and B `{a}` and `{b}`, the free registers `{x}` and `{w}`, and the rows' distance
    /// `{stride}`.
    macro_rules! sum_over {
        ($steps:expr, $count:expr, $a:expr, $b:expr, $c:expr, $bytes:literal, $($step:literal),+) => {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                $($step,)+
                concat!("add {step}, ", $bytes),
                "cmp {step}, {end}",
                "jne 2b",
                "add {stride}, {stride}",
                "tilestored [{c} + {stride}*1], tmm0",
                "tilestored [{c} + {stride}*1 + 64], tmm1",
                "tilestored [{c} + {stride}*1 + 2048], tmm2",
                "tilestored [{c} + {stride}*1 + 2112], tmm3",
                step = inout(reg) $steps => _,
                end = in(reg) $steps.add($count),
                a = in(reg) $a,
                b = in(reg) $b,
                c = in(reg) $c,
                stride = inout(reg) 64_usize => _,
                x = out(reg) _,
                w = out(reg) _,
                out("tmm0") _,
                out("tmm1") _,
                out("tmm2") _,
                out("tmm3") _,
                out("tmm4") _,
                out("tmm5") _,
                out("tmm6") _,
                out("tmm7") _,
                options(nostack),
            )
        };
    }

    /// # Safety
    /// As for [`Session::multiply`](super::Session::multiply), after [`configure`].
    #[inline(always)]
    pub(super) unsafe fn multiply(
        steps: *const Step,
        count: usize,
        a: *const u16,
        b: *const u16,
        c: *mut f32,
    ) {
        // SAFETY: reads the steps, 2 tiles of A and 2 of B at each of their offsets, writes 4 tiles of C: the caller's
        // promise. No tile's content is expected before or behind the block.
        unsafe {
            sum_over!(
                steps,
                count,
                a,
                b,
                c,
                "8",
                "mov {x:e}, dword ptr [{step}]",
                "mov {w:e}, dword ptr [{step} + 4]",
                "add {x}, {a}",
                "add {w}, {b}",
                "tileloadd tmm4, [{x} + {stride}*1]",
                "tileloadd tmm6, [{w} + {stride}*1]",
                "tileloadd tmm7, [{w} + {stride}*1 + 1024]",
                "tileloadd tmm5, [{x} + {stride}*1 + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7"
            );
        }
    }

    /// # Safety
    /// As for [`Session::multiply_half`](super::Session::multiply_half), after [`configure`].
    #[inline(always)]
    pub(super) unsafe fn multiply_half(
        steps: *const Step,
        count: usize,
        a: *const u16,
        b: *const u16,
        c: *mut f32,
    ) {
        // SAFETY: reads the steps, a tile of A and 2 of B at each of their offsets, writes 4 tiles of C: the caller's promise,
        // as is that the loop, which takes two steps at a time, meets their end.
        unsafe {
            sum_over!(
                steps,
                count,
                a,
                b,
                c,
                "16",
                "mov {x:e}, dword ptr [{step}]",
                "mov {w:e}, dword ptr [{step} + 4]",
                "add {x}, {a}",
                "add {w}, {b}",
                "tileloadd tmm4, [{x} + {stride}*1]",
                "tileloadd tmm5, [{w} + {stride}*1]",
                "tileloadd tmm6, [{w} + {stride}*1 + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm5",
                "tdpbf16ps tmm1, tmm4, tmm6",
                "mov {x:e}, dword ptr [{step} + 8]",
                "mov {w:e}, dword ptr [{step} + 12]",
                "add {x}, {a}",
                "add {w}, {b}",
                "tileloadd tmm7, [{x} + {stride}*1]",
                "tileloadd tmm5, [{w} + {stride}*1]",
                "tileloadd tmm6, [{w} + {stride}*1 + 1024]",
                "tdpbf16ps tmm2, tmm7, tmm5",
                "tdpbf16ps tmm3, tmm7, tmm6"
            );
        }
    }
}
