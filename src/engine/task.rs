//! The target task, opened.

use super::EngineError;
use crate::data::{self, Facts, TargetData};
use crate::model::Model;
use crate::plan::Resolved;
use crate::probe::Column;
use crate::store::{Digest, MemoryBudget};
use crate::tune::Images;

/// The target task of a policy at a model's resolution. A reference sees the same images in its own way ([`Images::seen_by`]).
pub(crate) struct Task {
    pub classes: Vec<String>,
    pub train: Images,
    pub train_labels: Vec<u16>,
    pub train_clusters: Vec<u32>,
    pub test: Images,
    pub test_ids: Vec<String>,
    pub test_labels: Vec<u16>,
    pub test_clusters: Vec<u32>,
    /// Attributes of the test images that rules compare by.
    pub test_columns: Vec<Column>,
    /// The training images of each of [`plan::Resolved::views`].
    pub pools: Vec<Vec<usize>>,
    /// Digests of the training and the test view.
    pub views: [Digest; 2],
}

impl Task {
    pub fn open(resolved: &Resolved, data: &TargetData, model: &Model, budget: &MemoryBudget) -> Result<Self, EngineError> {
        let policy = resolved.policy;
        let labels = |set: &data::Dataset| set.records().iter().map(|r| r.label as u16).collect();
        Ok(Self {
            classes: data.classes.clone(),
            train: Images::open(&data.train, &model.input, budget)?,
            train_labels: labels(&data.train),
            train_clusters: data.train.clusters().to_vec(),
            test: Images::open(&data.test, &model.input, budget)?,
            test_ids: data.test.records().iter().map(|r| r.id.to_string()).collect(),
            test_labels: labels(&data.test),
            test_clusters: data.test.clusters().to_vec(),
            test_columns: policy.rules.iter().filter_map(|rule| Some(column(data.facts(), rule.probe.compared()?.attribute))).collect(),
            pools: pools(resolved, data.facts())?,
            views: [data.train.digest().clone(), data.test.digest().clone()],
        })
    }
}

/// An attribute of the test images.
pub(super) fn column(data: Facts, name: &str) -> Column {
    Column::of(name, data.test.iter().map(|record| record.value(name)))
}

/// The training images of each of [`plan::Resolved::views`].
pub(super) fn pools(resolved: &Resolved, data: Facts) -> Result<Vec<Vec<usize>>, EngineError> {
    let policy = resolved.policy;
    let pool = |view: &Option<data::Rebalance>| match view {
        None => Ok((0..data.train.len()).collect()),
        Some(rebalance) => rebalance.of(data.train, data.classes, policy.file.seed).map_err(|source| {
            let rule = policy.rules.iter().find(|rule| rule.probe.rebalance().as_ref() == Some(rebalance));
            let rule = rule.map(|rule| rule.id.clone()).unwrap_or_default();
            EngineError::Asked { at: policy.limit_origin(&rule).to_string(), rule, source }
        }),
    };
    resolved.views.iter().map(pool).collect()
}
