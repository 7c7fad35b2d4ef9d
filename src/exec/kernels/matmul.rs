//! Matrix products on strided slices.
#![allow(unsafe_code)] // one call into `gemm`, whose pointers are checked against their slices first

use rayon::prelude::*;

use super::Real;

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

/// Rows per piece of a parallel product.
const ROWS: usize = 64;

/// `c [m, n] = a b`, parallel over pieces of rows whose size does not depend on the thread count.
pub(crate) fn par_gemm<T: Real>([m, n, k]: [usize; 3], c: &mut [T], a: Mat<T>, b: Mat<T>) {
    if n == 0 || m == 0 {
        return;
    }
    c.par_chunks_mut(ROWS * n).enumerate().for_each(|(i, piece)| {
        let rows = piece.len() / n;
        let a = Mat { data: &a.data[i * ROWS * a.row..], ..a };
        gemm(false, [rows, n, k], piece, n, a, b);
    });
}

/// `c [m, n] = a b` where `k` is long and `m`, `n` are not (weight gradients): parallel over pieces of `k`, which are
/// added in order.
pub(crate) fn par_gemm_long_k<T: Real>([m, n, k]: [usize; 3], c: &mut [T], a: Mat<T>, b: Mat<T>) {
    const PIECE: usize = 512;
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
    add_in_order(c, &partial);
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
    let mut out = vec![T::ZERO; batches * m * n];
    out.par_chunks_mut((m * n).max(1)).enumerate().for_each(|(i, out)| {
        let (a, b) = (&a[i * m * k..][..m * k], &b[i * k * n..][..k * n]);
        let a = if ta { Mat::transposed(a, m) } else { Mat::rows(a, k) };
        let b = if tb { Mat::transposed(b, k) } else { Mat::rows(b, n) };
        gemm(false, [m, n, k], out, n, a, b);
    });
    out
}
