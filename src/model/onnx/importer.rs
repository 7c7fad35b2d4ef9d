//! The network that an import builds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ndarray::ArrayD;

use super::batch;
use super::value::Const;
use crate::graph::{GraphBuilder, Node, NodeId, Op, Role, Shape};

/// The network being built, with the constants that became parameters of it.
pub(super) struct Importer {
    pub builder: GraphBuilder,
    pub params: Vec<ArrayD<f32>>,
    /// The literal batch size that the file was exported with.
    pub batch: Option<usize>,
    /// How many nodes (and graph outputs) read a tensor.
    pub readers: BTreeMap<String, usize>,
    /// Nodes whose rows the file has in another order (`token_major`).
    pub token_major: BTreeSet<NodeId>,
    /// Constants in use, by the address of their numbers.
    slots: BTreeMap<usize, Used>,
    names: BTreeSet<String>,
}

/// Where a constant is in the network already.
struct Used {
    /// Kept alive, so that its address stays its own.
    _array: Arc<ArrayD<f32>>,
    plain: Option<NodeId>,
    transposed: Option<NodeId>,
}

impl Importer {
    pub fn new(batch: Option<usize>, readers: BTreeMap<String, usize>) -> Self {
        Self {
            builder: GraphBuilder::new(),
            params: Vec::new(),
            batch,
            readers,
            token_major: BTreeSet::new(),
            slots: BTreeMap::new(),
            names: BTreeSet::new(),
        }
    }

    /// An operator on earlier nodes, unless it mixes the images of a batch.
    pub fn add(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> Result<NodeId, String> {
        let node = self.builder.add(name, op, inputs).map_err(|e| e.to_string())?;
        let Node { op, inputs, shape, .. } = self.builder.node(node);
        let inputs: Vec<&Shape> = inputs.iter().map(|id| self.builder.shape(*id)).collect();
        batch::mixes(op, &inputs, shape).map_or(Ok(node), |reason| Err(reason.into()))
    }

    /// The node of a constant.
    pub fn param(&mut self, c: &Const) -> Result<NodeId, String> {
        let used = self.used(c);
        let node = match (used.plain, used.transposed) {
            (Some(plain), _) => return Ok(plain),
            (None, Some(transposed)) => self.add(&c.name, Op::Transpose { perm: vec![1, 0] }, &[transposed])?,
            (None, None) => self.slot(&c.name, (*c.array).clone()),
        };
        self.used(c).plain = Some(node);
        Ok(node)
    }

    /// The node of a constant matrix with its axes exchanged: stored so, unless it is also used as it is.
    pub fn transposed(&mut self, c: &Const) -> Result<NodeId, String> {
        let used = self.used(c);
        let node = match (used.transposed, used.plain) {
            (Some(transposed), _) => return Ok(transposed),
            (None, Some(plain)) => self.add(&c.name, Op::Transpose { perm: vec![1, 0] }, &[plain])?,
            (None, None) => self.slot(&c.name, c.array.t().as_standard_layout().into_owned()),
        };
        self.used(c).transposed = Some(node);
        Ok(node)
    }

    fn used(&mut self, c: &Const) -> &mut Used {
        let fresh = || Used { _array: Arc::clone(&c.array), plain: None, transposed: None };
        self.slots.entry(Arc::as_ptr(&c.array) as usize).or_insert_with(fresh)
    }

    fn slot(&mut self, name: &str, array: ArrayD<f32>) -> NodeId {
        // Two shapes of one initializer are two slots; their names must differ all the same.
        let mut unique = name.to_owned();
        let mut i = 2;
        while !self.names.insert(unique.clone()) {
            unique = format!("{name}.{i}");
            i += 1;
        }
        let node = self.builder.param(&unique, array.shape(), Role::Constant);
        self.params.push(array);
        node
    }
}
