//! Matrix products on strided slices.
#![allow(unsafe_code)] // one call into `gemm`, whose pointers are checked against their slices first

use rayon::prelude::*;

use super::Real;
use super::pieces::pieces;

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
pub(crate) fn gemm<T: Real>(accumulate: bool, [m, n, k]: [usize; 3], c: &mut [T], ldc: usize, a: Mat<T>, b: Mat<T>) {
    if m == 0 || n == 0 {
        return;
    }
    let fits =
        |len: usize, rows: usize, cols: usize, row: usize, col: usize| rows == 0 || cols == 0 || (rows - 1) * row + (cols - 1) * col < len;
    assert!(n <= ldc || m == 1, "rows of the product overlap");
    assert!(
        fits(c.len(), m, n, ldc, 1) && fits(a.data.len(), m, k, a.row, a.col) && fits(b.data.len(), k, n, b.row, b.col),
        "a matrix product reaches outside its buffers"
    );
    // SAFETY: the assertions above keep every address that (m, n, k) and the strides reach inside the three
    // slices, and `c` is borrowed mutably, so it overlaps neither operand.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
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
            gemm::Parallelism::None,
        );
    }
}

/// `a b` of `[m, k]` and `[k, n]` plus a row of biases, parallel over pieces of rows whose size does not depend on the thread count.
///
/// Every piece packs `b` anew, so that there are few; and more than the threads of most machines.
pub(crate) fn product<T: Real>([m, n, k]: [usize; 3], a: Mat<T>, b: Mat<T>, bias: Option<&[T]>) -> Vec<T> {
    let rows = m.div_ceil(16).next_multiple_of(16).clamp(64, 512);
    pieces(m * n, rows * n, |i, piece| {
        let count = piece.len() / n;
        gemm(false, [count, n, k], piece, n, Mat { data: &a.data[i * rows * a.row..], ..a }, b);
        if let Some(bias) = bias {
            piece.chunks_exact_mut(n).for_each(|row| row.iter_mut().zip(bias).for_each(|(value, &bias)| *value += bias));
        }
    })
}

/// `a b` where `k` is long (weight gradients). Where the result has few rows, parallel over pieces of `k`, which are added in order.
pub(crate) fn product_over_rows<T: Real>([m, n, k]: [usize; 3], a: Mat<T>, b: Mat<T>) -> Vec<T> {
    const PIECE: usize = 512;
    if m >= 2 * PIECE {
        return product([m, n, k], a, b, None);
    }
    let partial: Vec<Vec<T>> = (0..k.div_ceil(PIECE))
        .into_par_iter()
        .map(|i| {
            let (start, end) = (i * PIECE, k.min((i + 1) * PIECE));
            let mut part = vec![T::ZERO; m * n];
            let a = Mat { data: &a.data[start * a.col..], ..a };
            let b = Mat { data: &b.data[start * b.row..], ..b };
            gemm(false, [m, n, end - start], &mut part, n, a, b);
            part
        })
        .collect();
    let mut sum = vec![T::ZERO; m * n];
    add_in_order(&mut sum, &partial);
    sum
}

/// `c = sum of parts`, first to last.
pub(crate) fn add_in_order<T: Real>(c: &mut [T], parts: &[Vec<T>]) {
    c.fill(T::ZERO);
    for part in parts {
        for (c, &p) in c.iter_mut().zip(part) {
            *c += p;
        }
    }
}

/// One product per batch entry. An operand with `true` is stored transposed (`[k, m]`, `[n, k]`).
pub(crate) fn batched<T: Real>([m, n, k]: [usize; 3], (a, ta): (&[T], bool), (b, tb): (&[T], bool)) -> Vec<T> {
    let batches = a.len().checked_div(m * k).unwrap_or(0);
    pieces(batches * m * n, m * n, |i, out| {
        let (a, b) = (&a[i * m * k..][..m * k], &b[i * k * n..][..k * n]);
        let a = if ta { Mat::transposed(a, m) } else { Mat::rows(a, k) };
        let b = if tb { Mat::transposed(b, k) } else { Mat::rows(b, n) };
        gemm(false, [m, n, k], out, n, a, b);
    })
}
