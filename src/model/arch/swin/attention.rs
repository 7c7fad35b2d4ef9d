//! Attention within a window of Swin and Swin V2, and the biases for where two places are to one another: stored in V1, computed in V2.

use ndarray::ArrayD;

use super::{Making, Windows};
use crate::graph::{NodeId, Op, Role, Unary};
use crate::model::arch::ArchError;

impl Making<'_> {
    /// Attention on `[windows N, places, width]`.
    pub(super) fn attention(&mut self, block: &str, x: NodeId, windows: Windows, mask: Option<NodeId>) -> Result<NodeId, ArchError> {
        let name = format!("{block}.{}", self.parts.attention);
        let qkv = self.queries_keys_values(&name, x)?;
        let bias = self.positions(&name, windows)?;
        let (Some([q, k, v]), Some((bias, heads))) = (qkv, bias) else {
            return self.net.linear(&format!("{block}.{}", self.parts.out), x);
        };
        let net = &mut self.net;
        let [mut q, mut k, v] = [
            net.heads(&format!("{name}.q"), q, heads)?,
            net.heads(&format!("{name}.k"), k, heads)?,
            net.heads(&format!("{name}.v"), v, heads)?,
        ];
        if self.v2 {
            q = net.unit_length(&format!("{name}.q.direction"), q, 3, 1e-12)?;
            k = net.unit_length(&format!("{name}.k.direction"), k, 3, 1e-12)?;
        }
        let scale = (net.width(q).max(1) as f64).powf(-0.5);
        let columns = net.transpose(&format!("{name}.columns"), k, &[0, 1, 3, 2])?;
        let mut scores = net.matmul(&format!("{name}.scores"), q, columns)?;
        scores = if self.v2 {
            let factor = net.tensor(&format!("{name}.logit_scale"), &[heads, 1, 1], Role::Scale);
            let most = Unary::Clip { min: f64::NEG_INFINITY, max: 100f64.ln() };
            let factor = net.act(&format!("{name}.logit_scale.most"), most, factor)?;
            let factor = net.act(&format!("{name}.logit_scale.exp"), Unary::Exp, factor)?;
            net.mul(&format!("{name}.scaled"), scores, factor)?
        } else {
            net.affine(&format!("{name}.scaled"), scores, scale, 0.0)?
        };
        scores = net.sum(&format!("{name}.biased"), scores, bias)?;
        if let Some(mask) = mask {
            let (each, tokens) = (net.per_image(scores), net.width(scores));
            let together = net.reshape(&format!("{name}.images"), scores, &[each, heads, tokens, tokens])?;
            let masked = net.sum(&format!("{name}.masked"), together, mask)?;
            scores = net.reshape_by(&format!("{name}.apart"), masked, each, &[heads, tokens, tokens])?;
        }
        let shares = net.add(&format!("{name}.shares"), Op::Softmax { axis: 3 }, &[scores])?;
        let mixed = net.matmul(&format!("{name}.attention"), shares, v)?;
        let x = net.together(&name, mixed)?;
        net.linear(&format!("{block}.{}", self.parts.out), x)
    }

    /// Queries, keys and values; keys of V2 have no bias.
    fn queries_keys_values(&mut self, name: &str, x: NodeId) -> Result<Option<[NodeId; 3]>, ArchError> {
        let net = &mut self.net;
        if let &[q, k, v] = self.parts.qkv {
            let [q, k, v] =
                [net.linear(&format!("{name}.{q}"), x)?, net.linear(&format!("{name}.{k}"), x)?, net.linear(&format!("{name}.{v}"), x)?];
            return Ok(net.is_whole().then_some([q, k, v]));
        }
        let qkv = format!("{name}.qkv");
        if !self.v2 {
            let all = net.linear(&qkv, x)?;
            let parts = net.split(&format!("{qkv}.split"), all, 2, 3)?;
            return Ok(<[NodeId; 3]>::try_from(parts).ok().filter(|_| net.is_whole()));
        }
        let Some(found) = net.look(&format!("{qkv}.weight")) else { return Ok(None) };
        let width = net.width(x);
        if !net.is_whole() {
            return Ok(None);
        }
        if found != [3 * width, width] {
            net.misfit(&format!("{qkv}.weight"), &found, &format!("[{}, {width}]", 3 * width), x);
            return Ok(None);
        }
        let weight = net.tensor(&format!("{qkv}.weight"), &found, Role::Weight);
        let all = net.add(&qkv, Op::Linear, &[x, weight])?;
        let parts = net.split(&format!("{qkv}.split"), all, 2, 3)?;
        let &[mut q, k, mut v] = parts.as_slice() else { return Ok(None) };
        // One bias, of which torchvision leaves out the keys' part, or two.
        if net.has(&format!("{qkv}.bias")) {
            let bias = net.tensor(&format!("{qkv}.bias"), &[3 * width], Role::Bias);
            let of_q = net.slice(&format!("{qkv}.bias.q"), bias, 0, 0, width)?;
            let of_v = net.slice(&format!("{qkv}.bias.v"), bias, 0, 2 * width, 3 * width)?;
            q = net.sum(&format!("{qkv}.q.biased"), q, of_q)?;
            v = net.sum(&format!("{qkv}.v.biased"), v, of_v)?;
        } else if net.has(&format!("{name}.q_bias")) || net.has(&format!("{name}.v_bias")) {
            let of_q = net.tensor(&format!("{name}.q_bias"), &[width], Role::Bias);
            let of_v = net.tensor(&format!("{name}.v_bias"), &[width], Role::Bias);
            q = net.sum(&format!("{qkv}.q.biased"), q, of_q)?;
            v = net.sum(&format!("{qkv}.v.biased"), v, of_v)?;
            net.buffer(&format!("{name}.k_bias"), ArrayD::zeros(vec![width]));
        }
        Ok(net.is_whole().then_some([q, k, v]))
    }

    /// What is added to the scores for where two places are to one another, `[heads, places, places]`, and how many heads there are.
    fn positions(&mut self, name: &str, windows: Windows) -> Result<Option<(NodeId, usize)>, ArchError> {
        let Windows { size: [wh, ww], .. } = windows;
        let rows = (2 * wh).saturating_sub(1) * (2 * ww).saturating_sub(1);
        let table = if self.v2 { self.computed_table(name, windows)? } else { self.stored_table(name, rows) };
        let Some((table, heads)) = table.filter(|_| self.net.is_whole()) else { return Ok(None) };
        let places = wh * ww;
        let offset = |a: usize, b: usize| (a / ww + wh - 1 - b / ww) * (2 * ww - 1) + a % ww + ww - 1 - b % ww;
        let index: Vec<usize> = (0..places).flat_map(|a| (0..places).map(move |b| offset(a, b))).collect();
        let net = &mut self.net;
        let stored = format!("{name}.relative_position_index");
        if net.has(&stored) {
            let array = ArrayD::from_shape_vec(vec![index.len()], index.iter().map(|&at| at as f64).collect());
            net.buffer(&stored, array.unwrap_or_default());
        }
        let bias = net.select(&format!("{name}.position"), table, 0, index)?;
        let bias = net.reshape_fixed(&format!("{name}.position.pairs"), bias, &[places, places, heads])?;
        Ok(Some((net.transpose(&format!("{name}.position.bias"), bias, &[2, 0, 1])?, heads)))
    }

    /// A table `[relative positions, heads]`.
    fn stored_table(&mut self, name: &str, rows: usize) -> Option<(NodeId, usize)> {
        let table = format!("{name}.relative_position_bias_table");
        let found = self.net.look(&table).filter(|_| self.net.is_whole())?;
        match *found.as_slice() {
            [there, heads] if there == rows && heads > 0 => {
                self.told_heads(heads);
                Some((self.net.tensor(&table, &found, Role::Embedding), heads))
            }
            _ => {
                self.net.misfit(&table, &found, &format!("[{rows}, heads]"), NodeId(0));
                None
            }
        }
    }

    /// What the network of V2 makes of every relative position.
    fn computed_table(&mut self, name: &str, windows: Windows) -> Result<Option<(NodeId, usize)>, ArchError> {
        let [first, second] = ["0", "2"].map(|layer| format!("{name}.{}.{layer}", self.parts.positions));
        let Windows { size: [wh, ww], before, .. } = windows;
        let scale = self.net.look(&format!("{name}.logit_scale"));
        let (Some(&heads), true) = (scale.as_deref().and_then(<[usize]>::first), self.net.is_whole()) else {
            for tensor in [format!("{first}.weight"), format!("{first}.bias"), format!("{second}.weight")] {
                self.net.look(&tensor);
            }
            return Ok(None);
        };
        self.told_heads(heads);
        let far = |side: usize| if before > 0 { before - 1 } else { side - 1 }.max(1) as f64;
        let along = |at: usize, side: usize| {
            let at = 8.0 * (at as f64 - (side as f64 - 1.0)) / far(side);
            (at.signum() * (at.abs() + 1.0).log2() / 3.0) as f32
        };
        let coordinates: Vec<f32> = (0..2 * wh - 1).flat_map(|y| (0..2 * ww - 1).flat_map(move |x| [along(y, wh), along(x, ww)])).collect();
        let stored = format!("{name}.relative_coords_table");
        let net = &mut self.net;
        if net.has(&stored) {
            let array = ArrayD::from_shape_vec(vec![coordinates.len()], coordinates.iter().map(|v| f64::from(*v)).collect());
            net.buffer(&stored, array.unwrap_or_default());
        }
        let x = net.constant(&format!("{name}.coordinates"), &[coordinates.len() / 2, 2], &coordinates);
        let x = net.mlp([&first, &second], x, Unary::Relu)?;
        let x = net.act(&format!("{second}.sigmoid"), Unary::Sigmoid, x)?;
        let x = net.affine(&format!("{second}.scaled"), x, 16.0, 0.0)?;
        if net.is_whole() && net.width(x) != heads {
            let found = self.shapes.get(&format!("{second}.weight")).cloned().unwrap_or_default();
            net.misfit(&format!("{second}.weight"), &found, &format!("[{heads}, hidden]"), x);
        }
        Ok(Some((x, heads)))
    }

    /// The heads of a stage are those of its first block; all its blocks must have as many.
    fn told_heads(&mut self, heads: usize) {
        if self.heads.len() < self.depths.len() {
            self.heads.push(heads);
        }
    }
}
