//! What is said of networks in stages, held against what their tensors show. Families of other files use it too.

use super::has;
use crate::model::arch::config::{Config, Library};
use crate::model::arch::{ArchError, Family, Shapes};

/// A number for every stage, as `key` or the architecture says.
pub(in crate::model::arch) fn each(config: &Config, key: &str, usual: &[usize], stages: usize) -> Result<Vec<usize>, ArchError> {
    let said = config.counts(key)?.unwrap_or_else(|| usual.to_vec());
    match said[..] {
        [one] => Ok(vec![one; stages]),
        _ if said.len() == stages => Ok(said),
        _ => Err(ArchError::Unsupported(format!("`{key}` has {} numbers, and the tensors show {stages} stages", said.len()))),
    }
}

/// Refuses a list that says something else than the tensors show.
pub(in crate::model::arch) fn agree<const N: usize>(
    config: &Config,
    key: &str,
    usual: Option<[usize; N]>,
    found: &[usize],
) -> Result<(), ArchError> {
    match config.counts(key)?.or(usual.map(|numbers| numbers.to_vec())) {
        Some(said) => fitting(key, &said, found),
        None => Ok(()),
    }
}

fn fitting(key: &str, said: &[usize], found: &[usize]) -> Result<(), ArchError> {
    let same = said == found || matches!(said, [one] if found.iter().all(|number| number == one));
    if same { Ok(()) } else { Err(apart(key, &format!("{said:?}"), &format!("{found:?}"))) }
}

/// What is said of a network is not what its tensors are.
pub(in crate::model::arch) fn apart(key: &str, said: &str, found: &str) -> ArchError {
    ArchError::Unsupported(format!("`{key}` is {said}, and the tensors show {found}: the two are of different models"))
}

/// Which of the prefixes the tensors have.
pub(in crate::model::arch) fn base(shapes: &Shapes, bases: &[&'static str], stem: &str) -> &'static str {
    let there = |base: &&&str| has(shapes, &format!("{base}{stem}"));
    bases.iter().find(there).or(bases.first()).copied().unwrap_or_default()
}

/// Refuses tensors of which neither a configuration nor a name says more.
pub(in crate::model::arch) fn said(config: &Config, family: &Family, names: &[&str]) -> Result<(), ArchError> {
    if config.library() == Library::Transformers || config.name.is_some() {
        return Ok(());
    }
    Err(needs_name(family, names))
}

pub(in crate::model::arch) fn needs_name(family: &Family, names: &[&str]) -> ArchError {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    ArchError::NeedsName { family: family.name, what: "the number of heads".into(), names }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_one_number_for_all_stages_or_one_for_each() {
        let said = json!({"model_type": "pvt", "num_attention_heads": [1, 2, 5], "strides": 2});
        let config = Config::of(Some(&said), None, false).expect("read");
        assert_eq!(each(&config, "num_attention_heads", &[1, 2, 5, 8], 3).expect("three"), [1, 2, 5]);
        assert!(each(&config, "num_attention_heads", &[1, 2, 5, 8], 4).is_err());
        assert_eq!(each(&config, "strides", &[4, 2], 3).expect("one"), [2, 2, 2]);
        assert!(agree(&config, "strides", Some([2, 2]), &[2, 2]).is_ok() && agree(&config, "strides", Some([2, 2]), &[4, 2]).is_err());
    }
}
