//! What config.json says of networks in stages, held against what their tensors show.

use super::config::{Config, Name};
use super::layers::Layers;
use super::{ArchError, Shapes};
use crate::graph::NodeId;

/// A list that the tensors show too, one number a stage or one for all. `usual` is what the named architecture has, or the class, where
/// config.json does not say.
pub(super) fn agree(config: &Config, key: &str, found: &[usize], usual: Option<&[usize]>) -> Result<(), ArchError> {
    let said = config.counts(key)?;
    let wanted = said.as_deref().or(usual);
    // A list of one is of a network of one stage.
    let listed = config.get(key).is_some_and(serde_json::Value::is_array);
    let same = |wanted: &[usize]| match wanted {
        [one] if !listed => found.iter().all(|found| found == one),
        all => all == found,
    };
    match wanted {
        Some(wanted) if !same(wanted) => {
            let name = config.name.as_ref().map_or("it", |name| name.plain.as_str());
            let whose = if said.is_some() { "config.json".to_owned() } else { format!("`{name}` says nothing else, and") };
            Err(ArchError::Unsupported(format!(
                "{whose} has `{key}` {wanted:?}, and the tensors show {found:?}: the two are of different models"
            )))
        }
        _ => Ok(()),
    }
}

/// A switch that the tensors show too.
pub(super) fn switch(config: &Config, key: &str, found: bool) -> Result<(), ArchError> {
    if config.flag(key, found)? == found { Ok(()) } else { Err(config.refused(key, &(!found).into())) }
}

/// Height and width: a number, or two.
pub(super) fn pair(config: &Config, key: &str) -> Result<Option<[usize; 2]>, ArchError> {
    match config.counts(key)?.as_deref() {
        None => Ok(None),
        Some(&[one]) if one > 0 => Ok(Some([one; 2])),
        Some(&[h, w]) if h > 0 && w > 0 => Ok(Some([h, w])),
        Some(other) => Err(config.refused(key, &other.into())),
    }
}

/// Whether timm's pooling takes the greatest value; another than that and the mean is refused.
pub(super) fn takes_greatest(config: &Config) -> Result<bool, ArchError> {
    match config.pooling("avg")? {
        "avg" => Ok(false),
        "max" => Ok(true),
        other => Err(config.refused("global_pool", &other.into())),
    }
}

/// The entry of a table that the name means.
pub(super) fn entry<'t, T>(config: &Config, table: &'t [T], name: impl Fn(&T) -> &'static str) -> Option<&'t T> {
    config.name.as_ref().and_then(|called| table.iter().find(|entry| called.is_one_of([name(entry)])))
}

/// Whether one of a table is called so.
pub(super) fn calls<T>(called: &Name, table: &[T], name: impl Fn(&T) -> &'static str) -> bool {
    table.iter().any(|entry| called.is_one_of([name(entry)]))
}

/// The prefix that tensors of a base model have in a model with a head.
pub(super) fn base(shapes: &Shapes, prefix: &'static str) -> &'static str {
    if shapes.keys().any(|name| name.starts_with(prefix)) { prefix } else { "" }
}

/// A linear layer, where the file has it.
pub(super) fn head(net: &mut Layers, shapes: &Shapes, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
    if shapes.keys().any(|tensor| tensor.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))) {
        net.linear(name, x)
    } else {
        Ok(x)
    }
}

/// Zeros below and on the right of a map, to the next multiple of these sides.
pub(super) fn padded(net: &mut Layers, name: &str, x: NodeId, to: [usize; 2]) -> Result<NodeId, ArchError> {
    let [h, w] = net.size(x);
    let more = |size: usize, to: usize| size.next_multiple_of(to.max(1)) - size;
    net.pad(name, x, vec![(0, 0), (0, 0), (0, more(h, to[0])), (0, more(w, to[1]))])
}

/// Numbers of the stages in words: `3+3+9+3`.
pub(super) fn plus(numbers: &[usize]) -> String {
    numbers.iter().map(usize::to_string).collect::<Vec<_>>().join("+")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn held(said: &Value, found: &[usize], usual: Option<&[usize]>) -> bool {
        let config = json!({"model_type": "x", "depths": said});
        let config = Config::of(Some(&config), None, false).expect("read");
        agree(&config, "depths", found, usual).is_ok()
    }

    #[test]
    fn what_is_said_of_stages_must_be_what_tensors_show() {
        assert!(held(&json!([2, 4]), &[2, 4], Some(&[1, 1])) && held(&json!(3), &[3, 3], None));
        assert!(held(&Value::Null, &[2, 4], None) && held(&Value::Null, &[2, 4], Some(&[2, 4])));
        assert!(!held(&json!([2, 4]), &[2, 4, 1], None) && !held(&json!(3), &[3, 2], None));
        assert!(!held(&json!([3]), &[3, 3], None) && held(&json!([3]), &[3], None));
        assert!(!held(&Value::Null, &[2, 4], Some(&[2, 2])));
    }
}
