//! Tensors that are made when a file is loaded, that must hold what is known of them, or that are left out.

use ndarray::ArrayD;

use super::{Layers, Made};
use crate::graph::{MOST_ELEMENTS, NodeId, Role};
use crate::model::arch::made::{MADE, Resample, resampled};
use crate::model::arch::{Buffer, LeftOut};

/// How positions of a grid are brought to another.
#[derive(Clone, Copy)]
pub(in crate::model::arch) struct Grid {
    /// Rows that belong to no position, in front: class and register tokens.
    pub before: usize,
    /// Height and width in the file.
    pub from: [usize; 2],
    /// Height and width that are needed.
    pub to: [usize; 2],
    /// How values between are taken.
    pub how: Resample,
    /// The step between outputs in inputs, where the library gives it and not the sizes.
    pub step: Option<[f64; 2]>,
}

impl Layers<'_> {
    /// A constant of the architecture. It is no tensor of the file; where the file has one of this name, that must be equal.
    pub(in crate::model::arch) fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) -> NodeId {
        let array = ArrayD::from_shape_vec(shape.to_vec(), values.to_vec()).unwrap_or_else(|_| ArrayD::zeros(shape.to_vec()));
        if self.has(name) {
            self.buffer(name, array.mapv(f64::from));
        }
        let slot = format!("{MADE}{name}");
        if !self.params.contains_key(&slot) {
            let values = array.clone();
            self.made.push(Made::new(&slot, &[], move |_| values.clone()));
        }
        self.param(&slot, shape, Role::Constant)
    }

    /// A parameter made of tensors of the file, of which the first gives it its name.
    pub(in crate::model::arch) fn made(
        &mut self,
        from: &[&str],
        shape: &[usize],
        role: Role,
        make: impl Fn(&[ArrayD<f32>]) -> ArrayD<f32> + Send + Sync + 'static,
    ) -> Option<NodeId> {
        for name in from {
            self.look(name)?;
        }
        let name = from.first()?;
        // What is asked for is a matter of the configuration, and that is not trusted.
        if shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side)).is_none_or(|product| product > MOST_ELEMENTS) {
            let found = self.shapes.get(*name).cloned().unwrap_or_default();
            self.misfit(name, &found, &format!("what can be brought to {shape:?}"), NodeId(0));
            return None;
        }
        if !self.params.contains_key(*name) {
            self.made.push(Made::new(name, from, make));
        }
        Some(self.param(name, shape, role))
    }

    /// Learnt positions `[1, tokens, width]` or `[tokens, width]`, brought to the grid that images of this size have where it is another.
    pub(in crate::model::arch) fn positions(&mut self, name: &str, grid: Grid) -> Option<NodeId> {
        let found = self.look(name)?;
        let Grid { before, from, to, how, step } = grid;
        let (&[1, tokens, width] | &[tokens, width]) = found.as_slice() else {
            self.misfit(name, &found, "[1, tokens, width]", NodeId(0));
            return None;
        };
        if tokens != before + from[0] * from[1] {
            self.misfit(name, &found, &format!("[1, {}, width]", before + from[0] * from[1]), NodeId(0));
            return None;
        }
        if from == to {
            return Some(self.tensor(name, &found, Role::Embedding));
        }
        let rows = before + to[0] * to[1];
        let shape = if found.len() == 2 { vec![rows, width] } else { vec![1, rows, width] };
        self.made(&[name], &shape.clone(), Role::Embedding, move |tensors| {
            let all: Vec<f32> = tensors.iter().flat_map(|tensor| tensor.iter().copied()).collect();
            let (front, places) = all.split_at((before * width).min(all.len()));
            let places = ArrayD::from_shape_vec(vec![from[0], from[1], width], places.to_vec()).unwrap_or_default();
            let brought = resampled(&places, from, to, how, step);
            let values = front.iter().copied().chain(brought.iter().copied()).collect();
            ArrayD::from_shape_vec(shape.clone(), values).unwrap_or_default()
        })
    }

    /// A tensor of the file, if it is there, that is part of the architecture and must hold `values`.
    pub(in crate::model::arch) fn buffer(&mut self, name: &str, values: ArrayD<f64>) {
        if self.has(name) {
            self.sought.insert(name.to_owned());
            self.buffers.push(Buffer { name: name.to_owned(), values });
        }
    }

    /// Leaves out the tensors whose names begin so. `what` they are is told, such as `the text tower`; nothing is told of what no use of the
    /// network reads, such as a mask token.
    pub(in crate::model::arch) fn leave_out(&mut self, prefix: &str, what: &str) {
        let there: Vec<String> = self.shapes.keys().filter(|name| name.starts_with(prefix)).cloned().collect();
        if !there.is_empty() {
            self.sought.extend(there);
            self.left_out.push(LeftOut { prefix: prefix.to_owned(), what: what.to_owned() });
        }
    }

    /// Says which node holds the features: needed where that is not what enters the last linear layer.
    pub(in crate::model::arch) fn features_at(&mut self, x: NodeId) {
        if self.is_whole() {
            self.features = Some(self.builder.node(x).name.clone());
        }
    }
}
