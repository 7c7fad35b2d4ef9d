//! The output shape of an operator, or why its inputs do not fit.

use super::{Dim, Op, Shape, Window};

type Result<T> = std::result::Result<T, String>;

pub(super) fn infer(op: &Op, inputs: &[&Shape]) -> Result<Shape> {
    if let Op::Reshape { shape } | Op::Expand { shape } = op {
        shape.bounded()?;
    }
    let shape = computed(op, inputs)?;
    shape.bounded()?;
    Ok(shape)
}

fn computed(op: &Op, inputs: &[&Shape]) -> Result<Shape> {
    match op {
        Op::Input | Op::Param(_) => Err("it is declared, not computed".into()),
        Op::Conv2d { window, groups } => conv(window, *groups, inputs),
        Op::Linear => linear(inputs),
        Op::MatMul => matmul(inputs),
        Op::BatchNorm { .. } => {
            let x = arity(inputs, 5, 5)?[0];
            let channels = axis(x, 1)?;
            for (what, shape) in ["scale", "shift", "mean", "variance"].iter().zip(&inputs[1..]) {
                if shape.0 != [channels] {
                    return Err(format!("the {what} has shape {shape}, the input has {channels:?} channels"));
                }
            }
            Ok(x.clone())
        }
        Op::LayerNorm { axis: from, .. } => {
            let x = arity(inputs, 1, 3)?[0];
            let normalised = x.0.get(*from..).filter(|dims| !dims.is_empty()).ok_or("the axis is out of range")?;
            for shape in &inputs[1..] {
                if shape.0 != normalised {
                    return Err(format!("scale and shift must have shape {}", Shape(normalised.to_vec())));
                }
            }
            Ok(x.clone())
        }
        Op::Lrn { size, .. } => {
            let x = arity(inputs, 1, 1)?[0];
            at_least(x, 2)?;
            if *size == 0 {
                return Err("the size is 0".into());
            }
            Ok(x.clone())
        }
        Op::MaxPool(window) | Op::AvgPool { window, .. } => {
            let x = arity(inputs, 1, 1)?[0];
            let (n, c, h, w) = nchw(x)?;
            if window.pads[0].max(window.pads[2]) >= window.kernel[0] * window.dilation[0]
                || window.pads[1].max(window.pads[3]) >= window.kernel[1] * window.dilation[1]
            {
                return Err("padding as large as the window".into());
            }
            let [oh, ow] = window.output(h, w)?;
            Ok(Shape(vec![n, c, Dim::Fixed(oh), Dim::Fixed(ow)]))
        }
        Op::Unary(_) => Ok(arity(inputs, 1, 1)?[0].clone()),
        Op::Binary(_) => {
            arity(inputs, 2, 2)?;
            broadcast(&inputs[0].0, &inputs[1].0).map(Shape)
        }
        Op::Reduce { axes, keep, .. } => {
            let x = arity(inputs, 1, 1)?[0];
            if axes.windows(2).any(|pair| pair[0] >= pair[1]) {
                return Err("axes must ascend".into());
            }
            let mut out = Vec::new();
            for (i, dim) in x.0.iter().enumerate() {
                match (axes.contains(&i), keep) {
                    (false, _) => out.push(*dim),
                    (true, true) => out.push(Dim::Fixed(1)),
                    (true, false) => {}
                }
            }
            if let Some(beyond) = axes.iter().find(|a| **a >= x.rank()) {
                return Err(format!("there is no axis {beyond}"));
            }
            Ok(Shape(out))
        }
        Op::Softmax { axis: along } => {
            let x = arity(inputs, 1, 1)?[0];
            axis(x, *along)?;
            Ok(x.clone())
        }
        Op::Attention { scale } => attention(*scale, inputs),
        Op::Concat { axis: along } => concat(*along, arity(inputs, 1, usize::MAX)?),
        Op::Reshape { shape } => {
            let x = arity(inputs, 1, 1)?[0];
            for n in [1, 2, 3] {
                let (from, to): (usize, usize) = (x.at(n).iter().product(), shape.at(n).iter().product());
                if from != to {
                    return Err(format!("{shape} holds {to} elements at batch size {n}, the input {from}"));
                }
            }
            Ok(shape.clone())
        }
        Op::Expand { shape } => {
            let x = arity(inputs, 1, 1)?[0];
            if broadcast(&x.0, &shape.0)? == shape.0 { Ok(shape.clone()) } else { Err(format!("it cannot be repeated to {shape}")) }
        }
        Op::Transpose { perm } => {
            let x = arity(inputs, 1, 1)?[0];
            let mut sorted = perm.clone();
            sorted.sort_unstable();
            if sorted != (0..x.rank()).collect::<Vec<_>>() {
                return Err(format!("{perm:?} is not an order of its axes"));
            }
            Ok(Shape(perm.iter().map(|&axis| x.0[axis]).collect()))
        }
        Op::Slice { axis: along, start, end, step } => {
            let x = arity(inputs, 1, 1)?[0];
            let size = fixed(axis(x, *along)?)?;
            if *step == 0 || start >= end || *end > size {
                return Err(format!("[{start}, {end}) step {step} does not lie in an axis of {size}"));
            }
            Ok(with_axis(x, *along, (end - start).div_ceil(*step)))
        }
        Op::Select { axis: along, indices } => {
            let x = arity(inputs, 1, 1)?[0];
            let size = fixed(axis(x, *along)?)?;
            match indices.iter().find(|i| **i >= size) {
                Some(index) => Err(format!("index {index} is outside an axis of {size}")),
                None if indices.is_empty() => Err("no index is selected".into()),
                None => Ok(with_axis(x, *along, indices.len())),
            }
        }
        Op::Pad { pads, .. } => {
            let x = arity(inputs, 1, 1)?[0];
            if pads.len() != x.rank() {
                return Err(format!("{} pads for {} axes", pads.len(), x.rank()));
            }
            let mut out = Vec::new();
            for (dim, (before, after)) in x.0.iter().zip(pads) {
                out.push(if before + after == 0 { *dim } else { Dim::Fixed(fixed(*dim)? + before + after) });
            }
            Ok(Shape(out))
        }
    }
}

impl Window {
    /// Output height and width for an input of `h` by `w`.
    pub fn output(&self, h: usize, w: usize) -> Result<[usize; 2]> {
        let along = |size: usize, i: usize| {
            let (kernel, stride, dilation) = (self.kernel[i], self.stride[i], self.dilation[i]);
            if kernel == 0 || stride == 0 || dilation == 0 {
                return Err("kernel, stride and dilation are at least 1".to_owned());
            }
            let padded = size + self.pads[i] + self.pads[i + 2];
            let reach = dilation.saturating_mul(kernel - 1).saturating_add(1);
            if padded < reach {
                return Err(format!("a window of {reach} does not fit into {padded} (padding included)"));
            }
            Ok((padded - reach) / stride + 1)
        };
        Ok([along(h, 0)?, along(w, 1)?])
    }
}

/// The shape that two shapes are broadcast to, as in NumPy.
pub(super) fn broadcast(a: &[Dim], b: &[Dim]) -> Result<Vec<Dim>> {
    let rank = a.len().max(b.len());
    let get = |dims: &[Dim], i: usize| (i + dims.len()).checked_sub(rank).map_or(Dim::Fixed(1), |j| dims[j]);
    (0..rank)
        .map(|i| match (get(a, i), get(b, i)) {
            (x, y) if x == y => Ok(x),
            (Dim::Fixed(1), y) => Ok(y),
            (x, Dim::Fixed(1)) => Ok(x),
            _ => Err(format!("axis {i} differs and neither side is 1")),
        })
        .collect()
}

fn conv(window: &Window, groups: usize, inputs: &[&Shape]) -> Result<Shape> {
    arity(inputs, 2, 3)?;
    let (n, c, h, w) = nchw(inputs[0])?;
    let channels = fixed(c)?;
    let weight = all_fixed(inputs[1], 4, "the weight")?;
    if groups == 0 || channels % groups != 0 || weight[0] % groups != 0 {
        return Err(format!("{groups} groups do not divide {channels} input and {} output channels", weight[0]));
    }
    if weight[1] != channels / groups || weight[2..] != window.kernel {
        return Err(format!(
            "with {groups} groups the weight must be [O, {}, {}, {}]",
            channels / groups,
            window.kernel[0],
            window.kernel[1]
        ));
    }
    if let Some(bias) = inputs.get(2)
        && bias.0 != [Dim::Fixed(weight[0])]
    {
        return Err(format!("the bias must be [{}]", weight[0]));
    }
    let [oh, ow] = window.output(h, w)?;
    Ok(Shape(vec![n, Dim::Fixed(weight[0]), Dim::Fixed(oh), Dim::Fixed(ow)]))
}

fn linear(inputs: &[&Shape]) -> Result<Shape> {
    arity(inputs, 2, 3)?;
    let weight = all_fixed(inputs[1], 2, "the weight")?;
    let x = inputs[0];
    at_least(x, 1)?;
    let last = x.rank() - 1;
    if x.known(last) != Some(weight[1]) {
        return Err(format!("the weight reads {} features", weight[1]));
    }
    if let Some(bias) = inputs.get(2)
        && bias.0 != [Dim::Fixed(weight[0])]
    {
        return Err(format!("the bias must be [{}]", weight[0]));
    }
    Ok(with_axis(x, last, weight[0]))
}

fn matmul(inputs: &[&Shape]) -> Result<Shape> {
    arity(inputs, 2, 2)?;
    let (a, b) = (inputs[0], inputs[1]);
    at_least(a, 2)?;
    at_least(b, 2)?;
    let (ra, rb) = (a.rank(), b.rank());
    if a.0[ra - 1] != b.0[rb - 2] {
        return Err("the inner dimensions differ".into());
    }
    let mut out = broadcast(&a.0[..ra - 2], &b.0[..rb - 2])?;
    out.extend([a.0[ra - 2], b.0[rb - 1]]);
    Ok(Shape(out))
}

fn attention(scale: f64, inputs: &[&Shape]) -> Result<Shape> {
    let &[q, k, v] = arity(inputs, 3, 3)? else { return Err("it takes queries, keys and values".into()) };
    for shape in inputs {
        at_least(shape, 2)?;
    }
    if !(scale.is_finite() && scale > 0.0) {
        return Err(format!("the scale {scale} is not a positive number"));
    }
    let lead = q.rank() - 2;
    if k.rank() != q.rank() || v.rank() != q.rank() || k.0[..lead] != q.0[..lead] || v.0[..lead] != q.0[..lead] {
        return Err("queries, keys and values differ in their leading axes".into());
    }
    if k.0[lead + 1] != q.0[lead + 1] {
        return Err("queries and keys differ in their width".into());
    }
    if v.0[lead] != k.0[lead] {
        return Err("there is not one value per key".into());
    }
    Ok(with(q, lead + 1, v.0[lead + 1]))
}

fn concat(along: usize, inputs: &[&Shape]) -> Result<Shape> {
    let first = inputs[0];
    axis(first, along)?;
    let mut total = 0;
    for shape in inputs {
        let same_elsewhere = shape.rank() == first.rank() && (0..first.rank()).all(|i| i == along || shape.0[i] == first.0[i]);
        if !same_elsewhere {
            return Err(format!("they differ elsewhere than along axis {along}"));
        }
        total += fixed(shape.0[along])?;
    }
    Ok(with_axis(first, along, total))
}

fn arity<'a, 'b>(inputs: &'a [&'b Shape], least: usize, most: usize) -> Result<&'a [&'b Shape]> {
    if (least..=most).contains(&inputs.len()) { Ok(inputs) } else { Err(format!("it takes {least} to {most} inputs")) }
}

fn at_least(shape: &Shape, rank: usize) -> Result<()> {
    if shape.rank() >= rank { Ok(()) } else { Err(format!("at least {rank} axes are needed")) }
}

fn axis(shape: &Shape, axis: usize) -> Result<Dim> {
    shape.0.get(axis).copied().ok_or_else(|| format!("there is no axis {axis}"))
}

fn fixed(dim: Dim) -> Result<usize> {
    match dim {
        Dim::Fixed(size) => Ok(size),
        Dim::Batch(_) => Err("this axis depends on the batch".into()),
    }
}

fn all_fixed(shape: &Shape, rank: usize, what: &str) -> Result<Vec<usize>> {
    if shape.rank() != rank || shape.is_batched() {
        return Err(format!("{what} must have {rank} known dimensions"));
    }
    Ok(shape.at(1))
}

fn nchw(shape: &Shape) -> Result<(Dim, Dim, usize, usize)> {
    match shape.0[..] {
        [n, c, Dim::Fixed(h), Dim::Fixed(w)] => Ok((n, c, h, w)),
        _ => Err("the input must be [N, C, height, width] with known height and width".into()),
    }
}

fn with_axis(shape: &Shape, axis: usize, size: usize) -> Shape {
    with(shape, axis, Dim::Fixed(size))
}

fn with(shape: &Shape, axis: usize, size: Dim) -> Shape {
    let mut out = shape.clone();
    out.0[axis] = size;
    out
}
