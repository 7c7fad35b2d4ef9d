//! Moves numbers to other places: slices, selections, padding, permuted axes.

use super::Real;
use super::pieces::pieces;

/// Numbers that one thread moves before the next piece.
const PIECE: usize = 1 << 14;

/// `to[i] = from[2 i]`. In pairs, because steps of two are not made of vectors.
#[inline]
pub(super) fn take_every_second<T: Copy>(to: &mut [T], from: &[T]) {
    let pairs = from.as_chunks::<2>().0;
    let whole = to.len().min(pairs.len());
    let (firsts, last) = to.split_at_mut(whole);
    firsts.iter_mut().zip(pairs).for_each(|(to, pair)| *to = pair[0]);
    if let (Some(to), Some(&from)) = (last.first_mut(), from.get(2 * whole)) {
        *to = from;
    }
}

/// Along the middle axis of `[outer, axis, inner]`: place `i` of the result is place `from[i]` of `x`, or `fill` where there is none.
pub(crate) fn take<T: Real>(x: &[T], axis: usize, inner: usize, from: &[Option<usize>], fill: T) -> Vec<T> {
    let outer = x.len().checked_div(axis * inner).unwrap_or(0);
    let one = from.len() * inner;
    let together = (PIECE / one.max(1)).max(1);
    pieces(outer * one, together * one, |piece, out| {
        for (i, out) in out.chunks_exact_mut(one).enumerate() {
            let x = &x[(piece * together + i) * axis * inner..][..axis * inner];
            if inner == 1 {
                for (out, from) in out.iter_mut().zip(from) {
                    *out = from.map_or(fill, |from| x[from]);
                }
                continue;
            }
            for (out, from) in out.chunks_exact_mut(inner).zip(from) {
                match from {
                    Some(from) => out.copy_from_slice(&x[from * inner..][..inner]),
                    None => out.fill(fill),
                }
            }
        }
    })
}

/// Axis `i` of the result is axis `perm[i]` of `x`.
pub(crate) fn permute<T: Real>(x: &[T], dims: &[usize], perm: &[usize]) -> Vec<T> {
    let mut strides = vec![1; dims.len()];
    for axis in (1..dims.len()).rev() {
        strides[axis - 1] = strides[axis] * dims[axis];
    }
    let Some((&last, lead)) = perm.split_last() else { return x.to_vec() };
    let (width, stride) = (dims[last], strides[last]);
    let together = (PIECE / width.max(1)).max(1);
    pieces(x.len(), together * width, |piece, out| {
        for (i, out) in out.chunks_exact_mut(width).enumerate() {
            let mut row = piece * together + i;
            let mut at = 0;
            for &axis in lead.iter().rev() {
                at += row % dims[axis] * strides[axis];
                row /= dims[axis];
            }
            if stride == 1 {
                out.copy_from_slice(&x[at..at + width]);
            } else {
                out.iter_mut().zip(x[at..].iter().step_by(stride)).for_each(|(out, &value)| *out = value);
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_is_taken_from_even_and_odd_lengths() {
        for len in 0..9_usize {
            let from: Vec<usize> = (0..len).collect();
            let mut to = vec![99; len.div_ceil(2)];
            take_every_second(&mut to, &from);
            assert_eq!(to, from.iter().copied().step_by(2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn numbers_arrive_where_they_should() {
        let x: Vec<f64> = (0..12).map(f64::from).collect();
        // [2, 3, 2] along the middle axis.
        assert_eq!(take(&x, 3, 2, &[Some(2), None, Some(0)], -1.0), [4.0, 5.0, -1.0, -1.0, 0.0, 1.0, 10.0, 11.0, -1.0, -1.0, 6.0, 7.0]);
        assert_eq!(take(&x, 6, 1, &[Some(5), None], 0.5), [5.0, 0.5, 11.0, 0.5]);
        assert_eq!(permute(&x, &[2, 3, 2], &[2, 0, 1]), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 1.0, 3.0, 5.0, 7.0, 9.0, 11.0]);
        assert_eq!(permute(&x, &[2, 3, 2], &[1, 0, 2]), [0.0, 1.0, 6.0, 7.0, 2.0, 3.0, 8.0, 9.0, 4.0, 5.0, 10.0, 11.0]);
        assert_eq!(permute(&[3.0], &[], &[]), [3.0]);
    }
}
