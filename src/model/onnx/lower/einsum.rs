//! Sums of products named by letters, and resizing: both are matrix products.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::call::Result;
use super::super::fold;
use super::super::value::{Const, Value};
use super::Lower;
use crate::graph::{Dim, NodeId, Op, Reduce, Shape};

/// A value and the letters of its axes.
struct Named {
    node: NodeId,
    letters: Vec<char>,
}

impl Lower<'_, '_> {
    /// `Einsum` of one tensor or two. Letters of both that the result has are a product's leading axes, those that it has not are summed over.
    pub(super) fn einsum(&mut self) -> Result<Vec<Value>> {
        let equation: String = self.call.text("equation").unwrap_or_default().chars().filter(|c| !c.is_whitespace()).collect();
        let wrong = |what: &str| format!("`equation` is `{equation}`: {what}");
        let (left, right) = equation.split_once("->").ok_or_else(|| wrong("its result is not written out"))?;
        let letters = |text: &str| -> Result<Vec<char>> {
            let all: Vec<char> = text.chars().collect();
            let once: BTreeSet<char> = all.iter().copied().collect();
            if !all.iter().all(char::is_ascii_alphabetic) || once.len() != all.len() {
                return Err(wrong("each tensor must have different letters, and no ellipsis"));
            }
            Ok(all)
        };
        let wanted = letters(right)?;
        let terms = left.split(',').map(letters).collect::<Result<Vec<_>>>()?;
        if terms.len() != self.call.inputs.len() {
            return Err(wrong(&format!("{} tensors are given", self.call.inputs.len())));
        }
        let mut parts = Vec::new();
        for (i, letters) in terms.iter().enumerate() {
            let node = self.node(i)?;
            if self.importer.builder.shape(node).rank() != letters.len() {
                return Err(wrong(&format!("tensor {i} has {} axes", self.importer.builder.shape(node).rank())));
            }
            let others = |letter: &char| terms.iter().enumerate().any(|(j, term)| j != i && term.contains(letter));
            let alone: Vec<usize> = (0..letters.len()).filter(|&at| !wanted.contains(&letters[at]) && !others(&letters[at])).collect();
            parts.push(self.summed(i, Named { node, letters: letters.clone() }, alone)?);
        }
        let made: BTreeSet<char> = terms.iter().flatten().copied().collect();
        if let Some(unknown) = wanted.iter().find(|letter| !made.contains(letter)) {
            return Err(wrong(&format!("no tensor has the letter {unknown}")));
        }
        let mut parts = parts.into_iter();
        let result = match (parts.next(), parts.next(), parts.next()) {
            (Some(one), None, None) => one,
            (Some(a), Some(b), None) => self.product(&a, &b, &wanted)?,
            _ => return Err(wrong("one tensor or two are supported")),
        };
        let perm: Vec<usize> = wanted.iter().filter_map(|letter| result.letters.iter().position(|l| l == letter)).collect();
        self.last(Op::Transpose { perm }, &[result.node])
    }

    fn summed(&mut self, i: usize, from: Named, axes: Vec<usize>) -> Result<Named> {
        if axes.is_empty() {
            return Ok(from);
        }
        let letters = from.letters.iter().enumerate().filter(|(at, _)| !axes.contains(at)).map(|(_, letter)| *letter).collect();
        let node = self.add(&format!("summed{i}"), Op::Reduce { kind: Reduce::Sum, axes, keep: false }, &[from.node])?;
        Ok(Named { node, letters })
    }

    fn product(&mut self, a: &Named, b: &Named, wanted: &[char]) -> Result<Named> {
        let both = |letter: &char| a.letters.contains(letter) && b.letters.contains(letter);
        let shared: Vec<char> = a.letters.iter().copied().filter(|l| both(l) && wanted.contains(l)).collect();
        let summed: Vec<char> = a.letters.iter().copied().filter(|l| both(l) && !wanted.contains(l)).collect();
        let rows: Vec<char> = a.letters.iter().copied().filter(|l| !b.letters.contains(l)).collect();
        let columns: Vec<char> = b.letters.iter().copied().filter(|l| !a.letters.contains(l)).collect();
        let (row_dims, column_dims) = (self.dims(a, &rows), self.dims(b, &columns));
        let lead = self.dims(a, &shared);
        if lead != self.dims(b, &shared) || self.dims(a, &summed) != self.dims(b, &summed) {
            return Err("one letter stands for axes of different sizes".into());
        }
        let left = self.arranged("left", a, [&shared, &rows, &summed])?;
        let right = self.arranged("right", b, [&shared, &summed, &columns])?;
        let node = self.add("product", Op::MatMul, &[left, right])?;
        let shape = Shape(lead.into_iter().chain(row_dims).chain(column_dims).collect());
        let node = self.add("apart", Op::Reshape { shape }, &[node])?;
        Ok(Named { node, letters: [shared, rows, columns].concat() })
    }

    fn dims(&self, of: &Named, letters: &[char]) -> Vec<Dim> {
        let shape = self.importer.builder.shape(of.node);
        letters.iter().filter_map(|letter| of.letters.iter().position(|l| l == letter)).map(|at| shape.0[at]).collect()
    }

    /// The axes in this order: those of the first group apart, those of the other two each as one.
    fn arranged(&mut self, name: &str, of: &Named, groups: [&[char]; 3]) -> Result<NodeId> {
        let perm = groups.concat().iter().filter_map(|letter| of.letters.iter().position(|l| l == letter)).collect();
        let moved = self.add(&format!("{name}/moved"), Op::Transpose { perm }, &[of.node])?;
        let mut dims = self.dims(of, groups[0]);
        for group in &groups[1..] {
            let product = self.dims(of, group).into_iter().try_fold(Dim::Fixed(1), |product, dim| match (product, dim) {
                (Dim::Fixed(a), Dim::Fixed(b)) => a.checked_mul(b).map(Dim::Fixed),
                (Dim::Fixed(a), Dim::Batch(b)) | (Dim::Batch(a), Dim::Fixed(b)) => a.checked_mul(b).map(Dim::Batch),
                (Dim::Batch(_), Dim::Batch(_)) => None,
            });
            dims.push(product.ok_or("its sizes are not linear in the batch")?);
        }
        self.add(name, Op::Reshape { shape: Shape(dims) }, &[moved])
    }

    /// `Resize` of what depends on the image: along each axis a product with a constant matrix.
    pub(super) fn resize(&mut self) -> Result<Vec<Value>> {
        let call = self.call;
        let x = self.node(0)?;
        let shape = self.shape(0)?;
        let from = shape.at(1);
        // A fixed size along the batch would be a resize of it.
        let asked = call.sizes(3, "sizes")?.filter(|sizes| !sizes.is_empty());
        let batches = |dim: Option<Dim>| matches!(dim, Some(Dim::Batch(_)));
        if let Some(sizes) = asked
            && sizes.iter().zip(&shape.0).any(|(size, dim)| batches(size.dim()) != batches(Some(*dim)) && self.importer.batch.is_none())
        {
            return Err("it resizes the batch".into());
        }
        let mut budget = fold::BUDGET;
        let matrices = fold::matrices(call, &from, &mut budget)?;
        let changed: Vec<usize> = (0..matrices.len()).filter(|&at| matrices[at].is_some()).collect();
        if changed.iter().any(|&at| shape.known(at).is_none()) {
            return Err("it resizes the batch".into());
        }
        let (mut at, last) = (x, shape.rank().saturating_sub(1));
        for (axis, matrix) in matrices.into_iter().enumerate().filter_map(|(axis, matrix)| Some((axis, matrix?))) {
            let name = format!("{}/axis{axis}", call.out());
            let matrix = self.importer.param(&Const { name: format!("{name}/weights"), array: Arc::new(matrix) })?;
            let mut perm: Vec<usize> = (0..=last).collect();
            perm.swap(axis, last);
            let turned =
                if axis == last { at } else { self.add(&format!("axis{axis}/turned"), Op::Transpose { perm: perm.clone() }, &[at])? };
            let product = self.add(&format!("axis{axis}"), Op::MatMul, &[turned, matrix])?;
            at = if axis == last { product } else { self.add(&format!("axis{axis}/back"), Op::Transpose { perm }, &[product])? };
        }
        Ok(vec![Value::Node(at)])
    }
}
