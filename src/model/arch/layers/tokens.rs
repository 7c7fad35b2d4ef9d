//! Layers of transformers, on `[N, tokens, width]`.

use super::Layers;
use crate::graph::{NodeId, Op, Role, Unary};
use crate::model::arch::ArchError;

type Made = Result<NodeId, ArchError>;

impl Layers<'_> {
    /// A linear layer `name.weight`, with `name.bias` where the file has one, on the last axis.
    pub(in crate::model::arch) fn linear(&mut self, name: &str, x: NodeId) -> Made {
        self.linear_by(name, &format!("{name}.weight"), &format!("{name}.bias"), x)
    }

    /// A linear layer with a weight `[out, in]` and, where the file has one, a bias of these names.
    pub(in crate::model::arch) fn linear_by(&mut self, name: &str, weight: &str, bias: &str, x: NodeId) -> Made {
        let Some(found) = self.look(weight) else { return Ok(x) };
        let features = self.width(x);
        let out = found.first().copied().unwrap_or(0);
        if self.stopped {
            if self.has(bias) {
                self.look(bias);
            }
            return Ok(x);
        }
        if found != [out, features] || out == 0 {
            return Ok(self.misfit(weight, &found, &format!("[out, {features}]"), x));
        }
        let mut inputs = vec![x, self.param(weight, &found, Role::Weight)];
        if self.has_bias(bias, &found) {
            inputs.push(self.vector(bias, out, Role::Bias));
        }
        self.add(name, Op::Linear, &inputs)
    }

    /// Layer norm over the last axis, with `name.weight` and `name.bias` where the file has them.
    pub(in crate::model::arch) fn layer_norm(&mut self, name: &str, x: NodeId, eps: f64) -> Made {
        let width = self.width(x);
        let axis = self.whole(x).len().saturating_sub(1);
        let mut inputs = vec![x, self.vector(&format!("{name}.weight"), width, Role::Scale)];
        if self.has_bias(&format!("{name}.bias"), &[width]) {
            inputs.push(self.vector(&format!("{name}.bias"), width, Role::Shift));
        }
        self.add(name, Op::LayerNorm { axis, eps }, &inputs)
    }

    /// Layer norm over the channels of a map `[N, C, H, W]`, place by place (timm's `LayerNorm2d`).
    pub(in crate::model::arch) fn layer_norm_map(&mut self, name: &str, x: NodeId, eps: f64) -> Made {
        let last = self.transpose(&format!("{name}.last"), x, &[0, 2, 3, 1])?;
        let normed = self.layer_norm(name, last, eps)?;
        self.transpose(&format!("{name}.first"), normed, &[0, 3, 1, 2])
    }

    /// Divided by the root of the mean square over the last axis, times `name.weight` (Zhang, Sennrich, arXiv 1910.07467).
    pub(in crate::model::arch) fn rms_norm(&mut self, name: &str, x: NodeId, eps: f64) -> Made {
        let (width, axis) = (self.width(x), self.whole(x).len().saturating_sub(1));
        let square = self.mul(&format!("{name}.square"), x, x)?;
        let mean = self.mean(&format!("{name}.mean"), square, &[axis], true)?;
        let mean = self.affine(&format!("{name}.eps"), mean, 1.0, eps)?;
        let root = self.act(&format!("{name}.root"), Unary::Sqrt, mean)?;
        let normed = self.div(&format!("{name}.normed"), x, root)?;
        let scale = self.vector(&format!("{name}.weight"), width, Role::Scale);
        self.mul(name, normed, scale)
    }

    /// Times a learnt factor for every place of the last axis (`LayerScale`), where the file has it.
    pub(in crate::model::arch) fn scaled(&mut self, name: &str, x: NodeId) -> Made {
        if self.may_have(name) { self.scaled_always(name, x) } else { Ok(x) }
    }

    /// The same of a network that has the factor always.
    pub(in crate::model::arch) fn scaled_always(&mut self, name: &str, x: NodeId) -> Made {
        let width = self.width(x);
        let factor = self.vector(name, width, Role::Scale);
        self.mul(&format!("{name}.mul"), x, factor)
    }

    /// Tokens of a map: `[N, C, H, W]` to `[N, H W, C]`.
    pub(in crate::model::arch) fn tokens(&mut self, name: &str, x: NodeId) -> Made {
        let [h, w] = self.size(x);
        let channels = self.channels(x);
        let last = self.transpose(&format!("{name}.last"), x, &[0, 2, 3, 1])?;
        self.reshape(name, last, &[h * w, channels])
    }

    /// The map of tokens: `[N, H W, C]` to `[N, C, H, W]`.
    pub(in crate::model::arch) fn map(&mut self, name: &str, x: NodeId, [h, w]: [usize; 2]) -> Made {
        let width = self.width(x);
        let places = self.reshape(&format!("{name}.places"), x, &[h, w, width])?;
        self.transpose(name, places, &[0, 3, 1, 2])
    }

    /// A learnt token, in front of all others of every image. `name` is `[1, 1, width]` in the file, or as many numbers in another shape.
    pub(in crate::model::arch) fn token_in_front(&mut self, name: &str, x: NodeId) -> Made {
        let width = self.width(x);
        let Some(found) = self.look(name) else { return Ok(x) };
        if found.iter().product::<usize>() % width.max(1) != 0 || found.last() != Some(&width) {
            return Ok(self.misfit(name, &found, &format!("[1, tokens, {width}]"), x));
        }
        let count = found.iter().product::<usize>() / width;
        let mut token = self.tensor(name, &found, Role::Embedding);
        if found.len() != 3 {
            token = self.reshape_fixed(&format!("{name}.reshape"), token, &[1, count, width])?;
        }
        let token = self.for_each_image(&format!("{name}.expand"), token)?;
        self.concat(&format!("{name}.concat"), 1, &[token, x])
    }

    /// Heads apart: `[N, tokens, heads * d]` to `[N, heads, tokens, d]`.
    pub(in crate::model::arch) fn heads(&mut self, name: &str, x: NodeId, heads: usize) -> Made {
        let (tokens, width) = (self.whole(x).get(1).copied().unwrap_or(0), self.width(x));
        let per_image = self.per_image(x);
        if self.stopped {
            return Ok(x);
        }
        if heads == 0 || !width.is_multiple_of(heads) {
            return Err(ArchError::Unsupported(format!(
                "`{name}`: {width} numbers cannot be dealt to {heads} heads: the configuration is of another network"
            )));
        }
        let apart = self.reshape_by(&format!("{name}.apart"), x, per_image, &[tokens, heads, width / heads])?;
        self.transpose(name, apart, &[0, 2, 1, 3])
    }

    /// How many items a value has per image: more than one where windows became images of their own.
    pub(in crate::model::arch) fn per_image(&self, x: NodeId) -> usize {
        self.whole(x).first().copied().unwrap_or(1)
    }

    /// `softmax(scale q k^T + bias) v` on `[N, heads, tokens, d]`, with the heads together again: `[N, tokens, heads * d]`.
    pub(in crate::model::arch) fn attend(&mut self, name: &str, [q, k, v]: [NodeId; 3], scale: f64, bias: Option<NodeId>) -> Made {
        let mixed = match bias {
            None => self.add(&format!("{name}.attention"), Op::Attention { scale }, &[q, k, v])?,
            Some(bias) => {
                let columns = self.transpose(&format!("{name}.columns"), k, &[0, 1, 3, 2])?;
                let scores = self.matmul(&format!("{name}.scores"), q, columns)?;
                let scores = self.affine(&format!("{name}.scaled"), scores, scale, 0.0)?;
                let scores = self.sum(&format!("{name}.biased"), scores, bias)?;
                let axis = self.whole(scores).len().saturating_sub(1);
                let shares = self.add(&format!("{name}.shares"), Op::Softmax { axis }, &[scores])?;
                self.matmul(&format!("{name}.attention"), shares, v)?
            }
        };
        self.together(name, mixed)
    }

    /// Heads together: `[N, heads, tokens, d]` to `[N, tokens, heads * d]`.
    pub(in crate::model::arch) fn together(&mut self, name: &str, x: NodeId) -> Made {
        let per_image = self.per_image(x);
        let dims = self.dims(x);
        let &[heads, tokens, d] = dims.as_slice() else { return Ok(x) };
        let back = self.transpose(&format!("{name}.back"), x, &[0, 2, 1, 3])?;
        self.reshape_by(&format!("{name}.together"), back, per_image, &[tokens, heads * d])
    }

    /// Self-attention whose queries, keys and values come of one linear layer `qkv` (its full name), in this order. `scale` defaults to
    /// `d^-1/2`; what comes out has its heads together, and no projection yet.
    pub(in crate::model::arch) fn self_attention(&mut self, qkv: &str, x: NodeId, heads: usize, bias: Option<NodeId>) -> Made {
        let all = self.linear(qkv, x)?;
        let parts = self.split(&format!("{qkv}.split"), all, 2, 3)?;
        let &[q, k, v] = parts.as_slice() else { return Ok(x) };
        let [q, k, v] = [
            self.heads(&format!("{qkv}.q"), q, heads)?,
            self.heads(&format!("{qkv}.k"), k, heads)?,
            self.heads(&format!("{qkv}.v"), v, heads)?,
        ];
        let scale = (self.width(q).max(1) as f64).powf(-0.5);
        self.attend(qkv, [q, k, v], scale, bias)
    }

    /// Two linear layers with an activation between.
    pub(in crate::model::arch) fn mlp(&mut self, [first, second]: [&str; 2], x: NodeId, act: Unary) -> Made {
        let x = self.linear(first, x)?;
        let x = self.act(&format!("{first}.act"), act, x)?;
        self.linear(second, x)
    }
}
