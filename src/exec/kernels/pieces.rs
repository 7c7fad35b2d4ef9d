//! Large results made piece by piece, in parallel.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::Real;

/// Does `n` pieces in parallel: `start` is called by a thread that begins a run of them, and what it returns does one piece at a time.
///
/// It takes no type parameters, so that the parallel loop is compiled once and not for each of its hundred callers.
fn each_piece<'a>(n: usize, start: &(dyn Fn() -> Box<dyn FnMut(usize) + 'a> + Sync + 'a)) {
    (0..n).into_par_iter().for_each_init(start, |one, i| one(i));
}

/// Where a vector's numbers lie, for the threads that write them.
struct Target<T>(*mut MaybeUninit<T>);

// SAFETY: threads only reach it through `piece`, whose callers never ask for the same piece twice.
#[allow(unsafe_code)]
unsafe impl<T: Send> Sync for Target<T> {}

impl<T> Target<T> {
    /// Piece `i` of `n` numbers in pieces of `size`.
    ///
    /// # Safety
    /// The target has room for `n` numbers, `i * size < n`, and nobody else holds piece `i`.
    #[allow(unsafe_code, clippy::mut_from_ref)]
    unsafe fn piece(&self, i: usize, size: usize, n: usize) -> &mut [MaybeUninit<T>] {
        let start = i * size;
        // SAFETY: as above; pieces of different `i` do not overlap.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), size.min(n - start)) }
    }
}

/// `n` numbers in pieces of `size`: `fill(i, piece)` is given piece `i` as zeros.
///
/// The zeros are set by the thread that fills the piece, just before: a whole vector of zeros would be written by one thread, go
/// through memory, and come back.
pub(super) fn pieces<T: Real>(n: usize, size: usize, fill: impl Fn(usize, &mut [T]) + Sync) -> Vec<T> {
    pieces_with(n, size, || (), |(), i, piece| fill(i, piece))
}

/// The same with something that a thread keeps from one piece to its next.
#[allow(unsafe_code)]
pub(super) fn pieces_with<T: Real, K>(
    n: usize,
    size: usize,
    keep: impl Fn() -> K + Sync + Send,
    fill: impl Fn(&mut K, usize, &mut [T]) + Sync,
) -> Vec<T> {
    made_with(n, size, keep, |kept, i, piece| {
        piece.fill(MaybeUninit::new(T::ZERO));
        // SAFETY: every number was just written.
        let piece = unsafe { piece.assume_init_mut() };
        fill(kept, i, piece);
        piece
    })
}

/// [`pieces`] without the zeros: `make(i, piece)` gives piece `i` back with every number written.
pub(super) fn made<T: Real>(n: usize, size: usize, make: impl for<'a> Fn(usize, &'a mut [MaybeUninit<T>]) -> &'a mut [T] + Sync) -> Vec<T> {
    made_with(n, size, || (), |(), i, piece| make(i, piece))
}

/// The same with something that a thread keeps from one piece to its next.
#[allow(unsafe_code)]
pub(super) fn made_with<T: Real, K>(
    n: usize,
    size: usize,
    keep: impl Fn() -> K + Sync + Send,
    make: impl for<'a> Fn(&mut K, usize, &'a mut [MaybeUninit<T>]) -> &'a mut [T] + Sync,
) -> Vec<T> {
    let mut all: Vec<T> = Vec::with_capacity(n);
    let size = size.max(1);
    let target = Target(all.spare_capacity_mut()[..n].as_mut_ptr());
    each_piece(n.div_ceil(size), &|| {
        let mut kept = keep();
        let (target, make) = (&target, &make);
        Box::new(move |i| {
            // SAFETY: there is room for `n`, and each `i` comes once.
            let piece = unsafe { target.piece(i, size, n) };
            unwritten(piece);
            let whole = (piece.as_ptr().cast::<T>(), piece.len());
            let made = make(&mut kept, i, piece);
            assert_eq!((made.as_ptr(), made.len()), whole, "a piece was not given back whole");
        })
    });
    // SAFETY: every piece came back as numbers, whole and at its own place, and the pieces are the first `n`.
    unsafe { all.set_len(n) };
    all
}

/// Makes numbers that nobody has written yet show themselves, in builds for tests: a kernel that leaves one out gives NaN, and not what happened to
/// lie in memory.
pub(super) fn unwritten<T: Real>(numbers: &mut [MaybeUninit<T>]) {
    if cfg!(any(test, debug_assertions)) {
        numbers.fill(MaybeUninit::new(T::of(f64::NAN)));
    }
}

/// How many of `n` to do together, of `most` at the most, so that all threads have as much to do. It depends on the number of threads: only where
/// what is done together does not change the bits.
pub(super) fn together(n: usize, most: usize) -> usize {
    let threads = rayon::current_num_threads().max(1);
    let pieces = n.div_ceil(most.max(1)).next_multiple_of(threads);
    n.div_ceil(pieces.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_starts_as_zeros_and_is_kept() {
        let made = pieces(10, 4, |i, piece: &mut [f32]| {
            assert_eq!(piece, &vec![0.0; piece.len()][..]);
            piece[0] = i as f32 + 1.0;
        });
        assert_eq!(made, [1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0, 0.0]);
        let counted = super::made(10, 4, |i, piece: &mut [MaybeUninit<f32>]| piece.write_copy_of_slice(&vec![i as f32; piece.len()]));
        assert_eq!(counted, [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 2.0, 2.0]);
        assert_eq!(pieces(0, 4, |_, _: &mut [f64]| ()), [0.0; 0]);
        assert_eq!(pieces(2, 0, |i, piece: &mut [f64]| piece[0] = i as f64), [0.0, 1.0]);
    }

    #[test]
    #[should_panic(expected = "not given back whole")]
    fn a_piece_that_is_not_filled_is_no_result() {
        made(4, 4, |_, _: &mut [MaybeUninit<f32>]| &mut []);
    }
}
