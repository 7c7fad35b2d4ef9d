//! Attention as exporters write it beside a mask: `Where(IsNaN(s), 0, s)` after a softmax `s`, so that an image part which may look at
//! nothing gets 0. A softmax is NaN in rows of nothing but -inf, and where its scores are no numbers. The guard is read as `s`: it computes
//! the same wherever `s` is a number, and where it is not, the features become NaN and are refused by image.

use std::collections::{BTreeMap, BTreeSet};

use super::node::is_default;
use super::pb::NodeProto;
use super::value::Value;

/// The nodes of guards, by their place in the file.
#[derive(Default)]
pub(super) struct Guards {
    /// `IsNaN` of a softmax that only guards read.
    tests: BTreeSet<usize>,
    choices: BTreeSet<usize>,
}

impl Guards {
    /// Those among the needed nodes, where `made` says which node computes a tensor and `wanted` is what leaves the graph.
    pub fn of(order: &[usize], nodes: &[NodeProto], made: &BTreeMap<&str, usize>, wanted: &[String]) -> Self {
        let maker = |name: &str, op: &str| made.get(name).copied().filter(|&i| is_default(&nodes[i].domain) && nodes[i].op_type == op);
        let mut readers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for &i in order {
            for name in &nodes[i].input {
                readers.entry(name).or_default().push(i);
            }
        }
        let is_guard = |&i: &usize| {
            let node = &nodes[i];
            let [truth, _, scores] = node.input.as_slice() else { return false };
            let test = maker(truth, "IsNaN");
            is_default(&node.domain)
                && node.op_type == "Where"
                && maker(scores, "Softmax").is_some()
                && test.is_some_and(|test| nodes[test].input == [scores.as_str()])
        };
        let choices: BTreeSet<usize> = order.iter().copied().filter(is_guard).collect();
        let only_guards = |&i: &usize| {
            let tested = nodes[i].output.first().filter(|out| maker(out, "IsNaN") == Some(i) && !wanted.contains(out));
            tested.and_then(|out| readers.get(out.as_str())).is_some_and(|readers| readers.iter().all(|reader| choices.contains(reader)))
        };
        let tests: BTreeSet<usize> = order.iter().copied().filter(only_guards).collect();
        // One whose test is read elsewhere too is left with it.
        let whole = |i: &usize| maker(&nodes[*i].input[0], "IsNaN").is_some_and(|test| tests.contains(&test));
        Self { choices: choices.into_iter().filter(whole).collect(), tests }
    }

    /// Whether a node is part of a guard.
    pub fn holds(&self, i: usize) -> bool {
        self.tests.contains(&i) || self.choices.contains(&i)
    }

    /// What a guard's node computes: nothing for the test, the scores for the choice.
    pub fn read(&self, i: usize, node: &NodeProto, values: &BTreeMap<String, Value>) -> Result<Option<Value>, String> {
        let at = |k: usize| node.input.get(k).and_then(|name| values.get(name));
        if self.tests.contains(&i) {
            return Ok(None);
        }
        let nothing = match at(1) {
            // Of few axes, so that the result has those of the scores.
            Some(Value::Float(c)) => c.array.len() == 1 && c.array.ndim() <= 1 && c.array.iter().all(|v| *v == 0.0),
            _ => false,
        };
        if !nothing {
            return Err("it takes something else than a single 0 where a softmax is NaN".into());
        }
        at(2).cloned().map(Some).ok_or_else(|| format!("it reads `{}`, which nothing computes", node.input[2]))
    }
}
