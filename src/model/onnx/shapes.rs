//! Shape operators' arguments, worked out once for constants and tensors of the network alike.

use super::call::{Call, Result, axes, axis};
use super::value::{Size, Value};
use crate::graph::{Dim, MOST_AXES, Shape};

/// The product of dimensions, of which one at most may depend on the batch.
pub(super) fn product(dims: &[Dim]) -> Result<Dim> {
    let mut total = Dim::Fixed(1);
    for dim in dims {
        let multiplied = match (total, *dim) {
            (Dim::Fixed(a), Dim::Fixed(b)) => a.checked_mul(b).map(Dim::Fixed),
            (Dim::Batch(a), Dim::Fixed(b)) | (Dim::Fixed(a), Dim::Batch(b)) => a.checked_mul(b).map(Dim::Batch),
            (Dim::Batch(_), Dim::Batch(_)) => return Err("two axes depend on the batch".into()),
        };
        total = multiplied.ok_or("the number of elements overflows")?;
    }
    Ok(total)
}

pub(super) fn few_axes(rank: usize) -> Result<()> {
    if rank > MOST_AXES { Err(format!("{rank} axes are more than the {MOST_AXES} supported")) } else { Ok(()) }
}

/// Reshape's target for an input of shape `x`. `batch` is the batch size the file was exported with, if that was a number:
/// a literal batch in the target then stands for `N`.
pub(super) fn reshape(x: &Shape, target: &[Size], allow_zero: bool, batch: Option<usize>) -> Result<Shape> {
    few_axes(target.len())?;
    let mut dims: Vec<Option<Dim>> = Vec::new();
    for (i, size) in target.iter().enumerate() {
        dims.push(match size.known() {
            Some(-1) if dims.contains(&None) => return Err("the new shape has two unknown dimensions".into()),
            Some(-1) => None,
            Some(0) if !allow_zero => Some(*x.0.get(i).ok_or("a 0 in the new shape stands for an axis that the input lacks")?),
            _ => Some(size.dim().ok_or_else(|| format!("dimension {i} of the new shape is not a size"))?),
        });
    }
    if let Some(batch) = batch.filter(|b| *b > 0)
        && x.is_batched()
        && !dims.iter().any(|d| matches!(d, Some(Dim::Batch(_))))
    {
        batched(x, &mut dims, batch);
    }
    let total = product(&x.0)?;
    let known: Vec<Dim> = dims.iter().flatten().copied().collect();
    let rest = product(&known)?;
    let unknown = match (total, rest) {
        (Dim::Fixed(t), Dim::Fixed(r)) | (Dim::Batch(t), Dim::Batch(r)) if r > 0 && t % r == 0 => Dim::Fixed(t / r),
        (Dim::Batch(t), Dim::Fixed(r)) if r > 0 && t % r == 0 => Dim::Batch(t / r),
        _ => return Err(format!("{x} cannot take the shape {}", display(target))),
    };
    if !dims.contains(&None) && unknown != Dim::Fixed(1) {
        return Err(format!("{x} cannot take the shape {}", display(target)));
    }
    Ok(Shape(dims.into_iter().map(|d| d.unwrap_or(unknown)).collect()))
}

/// Turns the literal batch of a target into `N`: on the axis that is the input's batch axis, or the first.
fn batched(x: &Shape, dims: &mut [Option<Dim>], batch: usize) {
    let per_item = |d: Option<Dim>| match d {
        Some(Dim::Fixed(size)) if size > 0 && size.is_multiple_of(batch) => Some(size / batch),
        _ => None,
    };
    let own = x.0.iter().position(|d| matches!(d, Dim::Batch(_))).unwrap_or(0);
    let open = dims.contains(&None);
    // With an unknown dimension only the very batch is taken for it: [1, -1] means [N, -1], [12, -1] need not.
    let fits = |i: usize| dims.get(i).copied().and_then(per_item).filter(|k| !open || *k == 1);
    for i in [own, 0] {
        if let Some(k) = fits(i) {
            dims[i] = Some(Dim::Batch(k));
            return;
        }
    }
}

pub(super) fn display(target: &[Size]) -> String {
    let one = |s: &Size| match (s.fixed, s.per_item) {
        (c, 0) => c.to_string(),
        (0, k) => format!("{k}N"),
        (c, k) => format!("{k}N+{c}"),
    };
    format!("[{}]", target.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// The shape that Expand broadcasts `x` to.
pub(super) fn expand(x: &Shape, target: &[Size], batch: Option<usize>) -> Result<Shape> {
    let rank = x.rank().max(target.len());
    few_axes(rank)?;
    let mut out = Vec::with_capacity(rank);
    for i in 0..rank {
        let from = (i + x.rank()).checked_sub(rank).and_then(|j| x.0.get(j)).copied().unwrap_or(Dim::Fixed(1));
        let to = (i + target.len()).checked_sub(rank).and_then(|j| target.get(j)).copied().unwrap_or(Size::from(1));
        let to = to.dim().ok_or_else(|| format!("{} is not a shape", display(target)))?;
        out.push(match (from, to) {
            (a, b) if a == b => a,
            (Dim::Fixed(1), b) => b,
            (a, Dim::Fixed(1)) => a,
            (Dim::Batch(1), Dim::Fixed(b)) if Some(b) == batch => Dim::Batch(1),
            _ => return Err(format!("{x} cannot be repeated to {}", display(target))),
        });
    }
    Ok(Shape(out))
}

/// Unsqueeze: the new shape.
pub(super) fn unsqueeze(call: &Call, x: &Shape) -> Result<Shape> {
    let given = call.known(1, "axes")?.ok_or("no axes are given")?;
    few_axes(x.rank().saturating_add(given.len()))?;
    let at = axes(&given, x.rank() + given.len())?;
    let mut dims = x.0.clone();
    for a in at {
        dims.insert(a, Dim::Fixed(1));
    }
    Ok(Shape(dims))
}

/// Squeeze: the new shape. A batch of one is kept.
pub(super) fn squeeze(call: &Call, x: &Shape) -> Result<Shape> {
    let Some(given) = call.known(1, "axes")? else {
        return Ok(Shape(x.0.iter().copied().filter(|d| *d != Dim::Fixed(1)).collect()));
    };
    let at = axes(&given, x.rank())?;
    if let Some(a) = at.iter().find(|a| x.0.get(**a) != Some(&Dim::Fixed(1))) {
        return Err(format!("axis {a} of {x} is not 1"));
    }
    Ok(Shape(x.0.iter().enumerate().filter(|(i, _)| !at.contains(i)).map(|(_, d)| *d).collect()))
}

/// Flatten: `[product before axis, product from axis]`.
pub(super) fn flatten(call: &Call, x: &Shape) -> Result<Shape> {
    let given = call.int("axis").unwrap_or(1);
    let at = if given == x.rank() as i64 { x.rank() } else { axis(given, x.rank())? };
    Ok(Shape(vec![product(&x.0[..at])?, product(&x.0[at..])?]))
}

/// Transpose: the order of axes.
pub(super) fn perm(call: &Call, rank: usize) -> Result<Vec<usize>> {
    let Some(given) = call.ints("perm").filter(|p| !p.is_empty() || rank == 0) else { return Ok((0..rank).rev().collect()) };
    let out = given.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>>>()?;
    let mut sorted = out.clone();
    sorted.sort_unstable();
    if sorted == (0..rank).collect::<Vec<_>>() { Ok(out) } else { Err(format!("{given:?} is not an order of {rank} axes")) }
}

/// One axis of a Slice: entries `start, start + step, ...` before `end`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    pub axis: usize,
    pub start: i64,
    pub end: i64,
    pub step: i64,
}

impl Range {
    pub fn indices(self) -> Vec<usize> {
        let mut out = Vec::new();
        let mut i = self.start;
        while (self.step > 0 && i < self.end) || (self.step < 0 && i > self.end) {
            out.push(i as usize);
            i = i.saturating_add(self.step);
        }
        out
    }
}

/// Slice (attributes before operator set 10, inputs since): the axes that really lose entries.
pub(super) fn slices(call: &Call, x: &Shape) -> Result<Vec<Range>> {
    let starts = call.sizes(1, "starts")?.ok_or("no starts are given")?;
    let ends = call.sizes(2, "ends")?.ok_or("no ends are given")?;
    let given = match call.known(3, "axes")? {
        Some(given) => given,
        None => (0..starts.len() as i64).collect(),
    };
    let steps = call.known(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || given.len() != starts.len() || steps.len() != starts.len() {
        return Err("starts, ends, axes and steps differ in length".into());
    }
    axes(&given, x.rank())?;
    let mut out = Vec::new();
    for (((start, end), at), &step) in starts.iter().zip(&ends).zip(&given).zip(&steps) {
        let at = axis(*at, x.rank())?;
        let dim = x.0[at];
        // Everything of a batch axis, said with a large number or with its own size, is no slice at all.
        let whole = start.known() == Some(0) && step == 1 && (*end == Size::from(dim) || end.known().is_some_and(|e| e >= 1 << 30));
        if whole {
            continue;
        }
        let Dim::Fixed(size) = dim else { return Err(format!("it cuts along the batch (axis {at})")) };
        let size = size as i64;
        let (Some(start), Some(end)) = (start.known(), end.known()) else { return Err("a bound depends on the batch".into()) };
        let from_start = |i: i64| if i < 0 { i.saturating_add(size) } else { i };
        let range = match step {
            0 => return Err("a step is 0".into()),
            1.. => Range { axis: at, start: from_start(start).clamp(0, size), end: from_start(end).clamp(0, size), step },
            _ => Range { axis: at, start: from_start(start).clamp(-1, size - 1), end: from_start(end).clamp(-1, size - 1), step },
        };
        if range != (Range { axis: at, start: 0, end: size, step: 1 }) {
            out.push(range);
        }
    }
    Ok(out)
}

/// Split: `(axis, [(start, end)])`.
pub(super) fn split(call: &Call, x: &Shape) -> Result<(usize, Vec<(usize, usize)>)> {
    let at = axis(call.int("axis").unwrap_or(0), x.rank())?;
    let size = x.known(at).ok_or("it splits the batch")?;
    let parts = if let Some(parts) = call.known(1, "split")? {
        parts.iter().map(|&p| usize::try_from(p).map_err(|_| format!("part {p} is negative"))).collect::<Result<Vec<_>>>()?
    } else {
        let n = call.node.output.len().max(1);
        let each = size.div_ceil(n);
        (0..n).map(|i| each.min(size.saturating_sub(i * each))).collect()
    };
    let mut start = 0usize;
    let mut out = Vec::new();
    for part in parts {
        let end = start.checked_add(part).filter(|e| *e <= size).ok_or_else(|| format!("the parts exceed axis {at} of {size}"))?;
        out.push((start, end));
        start = end;
    }
    if start != size || out.len() < call.node.output.len() {
        return Err(format!("the parts do not add up to axis {at} of {size}"));
    }
    Ok((at, out))
}

/// Gather's indices into an axis of `size`, counted from the end if negative.
pub(super) fn indices(value: &Value, size: usize) -> Result<(Vec<usize>, Vec<usize>)> {
    let given = super::call::integers(value)?;
    let flat = given
        .iter()
        .map(|s| {
            s.known()
                .ok_or_else(|| "an index depends on the batch".to_owned())
                .and_then(|i| axis(i, size).map_err(|_| format!("index {i} is outside an axis of {size}")))
        })
        .collect::<Result<_>>()?;
    Ok((flat, given.shape().to_vec()))
}

/// Tile: how often every axis is repeated.
pub(super) fn repeats(call: &Call, rank: usize) -> Result<Vec<Dim>> {
    let given = call.sizes(1, "repeats")?.ok_or("no repeats are given")?;
    if given.len() != rank {
        return Err(format!("{} repeats for {rank} axes", given.len()));
    }
    let some = |dim: &Dim| !matches!(dim, Dim::Fixed(0) | Dim::Batch(0));
    given.iter().map(|r| r.dim().filter(some).ok_or_else(|| format!("it repeats {} times", display(&[*r])))).collect()
}

/// The entries of an axis of `size`, again and again.
pub(super) fn tiled(size: usize, repeats: usize) -> Result<Vec<usize>> {
    let total = size.checked_mul(repeats).filter(|t| *t <= 1 << 24).ok_or_else(|| format!("{size} entries repeated {repeats} times"))?;
    Ok((0..total).map(|i| i % size).collect())
}
