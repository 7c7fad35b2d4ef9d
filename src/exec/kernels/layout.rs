//! Moves numbers to other places: slices, selections, padding, permuted axes.
#![allow(unsafe_code)] // a result that is written before it is read

use std::mem::MaybeUninit;

use super::Real;
use super::pieces::{made, pieces};

/// Numbers that one thread moves before the next piece.
const PIECE: usize = 1 << 14;

/// `to[i] = from[stride i]`, as far as both reach.
#[inline(always)]
pub(super) fn take_every<T: Copy>(stride: usize, to: &mut [T], from: &[T]) {
    if stride != 2 {
        to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, &from)| *to = from);
        return;
    }
    // In pairs, because steps of two are not made of vectors.
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

/// Several tensors `[outer, places, inner]` put together to one `[outer, axis, inner]`: place `i` of one becomes place `places[i]`. What comes to
/// the same place is added, in order; where nothing comes there is 0. For one tensor, the transpose of [`take`].
pub(crate) fn put<T: Real>(axis: usize, inner: usize, parts: &[(&[T], &[usize])]) -> Vec<T> {
    let outer = parts.first().map_or(0, |(values, places)| values.len().checked_div(places.len() * inner).unwrap_or(0));
    // Per place, what comes there: which part, and which of its places.
    let mut sources = vec![Vec::new(); axis];
    for (part, (_, places)) in parts.iter().enumerate() {
        places.iter().enumerate().for_each(|(i, &place)| sources[place].push((part, i)));
    }
    // Where few rows are long, they are cut, or few threads would have all the work.
    let width =
        if inner > PIECE { (PIECE / 16..=PIECE).rev().find(|width| inner.is_multiple_of(*width)).unwrap_or(inner) } else { inner.max(1) };
    let together = (PIECE / width).max(1);
    made(outer * axis * inner, together * width, |piece, out| {
        for (i, out) in out.chunks_exact_mut(width).enumerate() {
            let at = (piece * together + i) * width;
            let (row, within) = (at / inner, at % inner);
            let source = |&(part, i): &(usize, usize)| {
                let (values, places) = parts[part];
                &values[(row / axis * places.len() + i) * inner + within..][..width]
            };
            let Some((first, rest)) = sources[row % axis].split_first() else {
                out.fill(MaybeUninit::new(T::ZERO));
                continue;
            };
            let out = out.write_copy_of_slice(source(first));
            for other in rest {
                out.iter_mut().zip(source(other)).for_each(|(out, &value)| *out += value);
            }
        }
        // SAFETY: the piece is whole lines, and each was filled with zeros or with its first source.
        unsafe { out.assume_init_mut() }
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
    fn every_second_and_third_is_taken_from_any_length() {
        for (stride, len) in [2, 3].into_iter().flat_map(|stride| (0..9_usize).map(move |len| (stride, len))) {
            let from: Vec<usize> = (0..len).collect();
            let mut to = vec![99; len.div_ceil(stride)];
            take_every(stride, &mut to, &from);
            assert_eq!(to, from.iter().copied().step_by(stride).collect::<Vec<_>>());
        }
    }

    #[test]
    fn numbers_arrive_where_they_should() {
        let x: Vec<f64> = (0..12).map(f64::from).collect();
        // [2, 3, 2] along the middle axis.
        assert_eq!(take(&x, 3, 2, &[Some(2), None, Some(0)], -1.0), [4.0, 5.0, -1.0, -1.0, 0.0, 1.0, 10.0, 11.0, -1.0, -1.0, 6.0, 7.0]);
        assert_eq!(take(&x, 6, 1, &[Some(5), None], 0.5), [5.0, 0.5, 11.0, 0.5]);
        // [2, 2, 1] and [2, 1, 1] to [2, 4, 1]: one place twice, one never.
        let parts: [(&[f64], &[usize]); 2] = [(&x[1..5], &[3, 0]), (&x[10..], &[3])];
        assert_eq!(put(4, 1, &parts), [2.0, 0.0, 0.0, 11.0, 4.0, 0.0, 0.0, 14.0]);
        assert_eq!(put(2, 3, &[(&x, &[1, 1])]), [0.0, 0.0, 0.0, 3.0, 5.0, 7.0, 0.0, 0.0, 0.0, 15.0, 17.0, 19.0]);
        let long: Vec<f64> = (0..3 * 40_000).map(f64::from).collect();
        let (first, others) = long.split_at(40_000);
        assert_eq!(put(3, 40_000, &[(others, &[1, 2]), (first, &[0])]), long);
        assert_eq!(permute(&x, &[2, 3, 2], &[2, 0, 1]), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 1.0, 3.0, 5.0, 7.0, 9.0, 11.0]);
        assert_eq!(permute(&x, &[2, 3, 2], &[1, 0, 2]), [0.0, 1.0, 6.0, 7.0, 2.0, 3.0, 8.0, 9.0, 4.0, 5.0, 10.0, 11.0]);
        assert_eq!(permute(&[3.0], &[], &[]), [3.0]);
    }
}
