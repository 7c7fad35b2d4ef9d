//! Matrix products on strided slices.
#![allow(unsafe_code)] // calls into `gemm`, whose pointers are checked against their slices first, and results that it is the first to write

use std::mem::MaybeUninit;

use gemm::Parallelism;
use rayon::prelude::*;

use super::Real;
use super::pieces::made;
use super::pieces::unwritten;

/// A read-only matrix: element `(i, j)` is `data[i * row + j * col]`.
#[derive(Clone, Copy)]
pub(crate) struct Mat<'a, T> {
    pub data: &'a [T],
    pub row: usize,
    pub col: usize,
}

impl<'a, T> Mat<'a, T> {
    /// Row-major with `width` columns.
    pub(crate) fn rows(data: &'a [T], width: usize) -> Self {
        Self { data, row: width, col: 1 }
    }

    /// The transpose of a row-major matrix with `width` columns.
    pub(crate) fn transposed(data: &'a [T], width: usize) -> Self {
        Self { data, row: 1, col: width }
    }
}

/// `c = a b` or `c += a b` on one thread; `c` is `m` rows of `n`, `ldc` apart.
pub(crate) fn gemm<T: Real>(accumulate: bool, size: [usize; 3], c: &mut [T], ldc: usize, a: Mat<T>, b: Mat<T>) {
    let [m, n, _] = size;
    if m == 0 || n == 0 {
        return;
    }
    assert!(n <= ldc || m == 1, "rows of the product overlap");
    assert!(fits(c.len(), [m, n], [ldc, 1]), "a matrix product reaches outside its result");
    // SAFETY: the assertions keep every address that the size and the strides reach inside `c`, which holds numbers.
    unsafe { call(accumulate, size, c.as_mut_ptr(), ldc, a, b, Parallelism::None) }
}

/// `c = a b` into memory that holds nothing yet; `c` is `m` rows of `n` without gaps.
pub(super) fn gemm_new<'c, T: Real>(
    size: [usize; 3],
    c: &'c mut [MaybeUninit<T>],
    a: Mat<T>,
    b: Mat<T>,
    threads: Parallelism,
) -> &'c mut [T] {
    let [m, n, _] = size;
    assert_eq!(c.len(), m * n, "the result has another size");
    if !c.is_empty() {
        // SAFETY: `c` has `m` rows of `n`; they are written and not read.
        unsafe { call(false, size, c.as_mut_ptr().cast(), n, a, b, threads) };
    }
    // SAFETY: the product wrote all of it.
    unsafe { c.assume_init_mut() }
}

/// Whether a matrix lies inside its slice.
fn fits(len: usize, [rows, cols]: [usize; 2], [row, col]: [usize; 2]) -> bool {
    rows == 0 || cols == 0 || (rows - 1) * row + (cols - 1) * col < len
}

/// Where it does not accumulate it writes every element of `c` and reads none. The bits do not depend on the number of threads: these
/// share the tiles of the result, and each tile is summed in one order.
///
/// # Safety
/// `c` is valid for `m` rows of `n` numbers, `ldc` apart, and where it accumulates they are initialised.
unsafe fn call<T: Real>(accumulate: bool, [m, n, k]: [usize; 3], c: *mut T, ldc: usize, a: Mat<T>, b: Mat<T>, threads: Parallelism) {
    assert!(
        fits(a.data.len(), [m, k], [a.row, a.col]) && fits(b.data.len(), [k, n], [b.row, b.col]),
        "a matrix product reaches outside its operands"
    );
    // SAFETY: the assertion keeps what is read inside both operands, the caller what is written inside `c`; that is borrowed mutably
    // by the caller, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c,
            1,
            ldc as isize,
            accumulate,
            a.data.as_ptr(),
            a.col as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.col as isize,
            b.row as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            threads,
        );
    }
}

/// `a b` of `[m, k]` and `[k, n]` plus a row of biases, on all threads.
///
/// The threads share what is packed of both operands: in pieces of some hundred rows for each, packing took a tenth of the time.
pub(crate) fn product<T: Real>([m, n, k]: [usize; 3], a: Mat<T>, b: Mat<T>, bias: Option<&[T]>) -> Vec<T> {
    /// Rows at a time, so that what is packed of them takes some megabytes at most.
    const ROWS: usize = 8192;
    let mut all: Vec<T> = Vec::with_capacity(m * n);
    for (i, piece) in all.spare_capacity_mut()[..m * n].chunks_mut((ROWS * n).max(1)).enumerate() {
        unwritten(piece);
        let size = [piece.len() / n, n, k];
        let a = Mat { data: &a.data[i * ROWS * a.row..], ..a };
        let Some(bias) = bias else {
            gemm_new(size, piece, a, b, Parallelism::Rayon(0));
            continue;
        };
        // The product is added to the biases: one pass less.
        piece.par_chunks_exact_mut(n).with_min_len(64).for_each(|row| {
            row.write_copy_of_slice(bias);
        });
        // SAFETY: the piece is `size[0]` rows of `n`, which were just written.
        unsafe { call(true, size, piece.as_mut_ptr().cast(), n, a, b, Parallelism::Rayon(0)) };
    }
    // SAFETY: the first `m n` numbers were written above, piece by piece.
    unsafe { all.set_len(m * n) };
    all
}

/// `c = sum of parts`, first to last, for stretches that stay in a cache.
pub(crate) fn add_in_order<T: Real>(c: &mut [T], parts: &[Vec<T>]) {
    const STRETCH: usize = 4096;
    c.par_chunks_mut(STRETCH).enumerate().for_each(|(i, c)| {
        c.fill(T::ZERO);
        for part in parts {
            for (c, &p) in c.iter_mut().zip(&part[i * STRETCH..]) {
                *c += p;
            }
        }
    });
}

/// One product per batch entry. An operand with `true` is stored transposed (`[k, m]`, `[n, k]`).
pub(crate) fn batched<T: Real>([m, n, k]: [usize; 3], (a, ta): (&[T], bool), (b, tb): (&[T], bool)) -> Vec<T> {
    let batches = a.len().checked_div(m * k).unwrap_or(0);
    made(batches * m * n, m * n, |i, out| {
        let (a, b) = (&a[i * m * k..][..m * k], &b[i * k * n..][..k * n]);
        let a = if ta { Mat::transposed(a, m) } else { Mat::rows(a, k) };
        let b = if tb { Mat::transposed(b, k) } else { Mat::rows(b, n) };
        gemm_new([m, n, k], out, a, b, Parallelism::None)
    })
}
