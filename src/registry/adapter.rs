//! What the files of a `LoRA` adapter of peft are called, and what it calls its base. It is no checkpoint by itself: `model` merges it.

use std::path::Path;

use serde_json::Value;

/// The adapter's configuration, beside its tensors.
pub(crate) const CONFIG: &str = "adapter_config.json";
pub(crate) const TENSORS: &str = "adapter_model.safetensors";
/// Largest configuration that is read, in bytes.
pub(crate) const MAX_CONFIG: u64 = 4 << 20;

/// Whether a file holds the tensors of one, in whatever format.
pub(super) fn is_one(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("adapter_model."))
}

/// What a configuration calls the adapter's base, where it says so.
pub(crate) fn base_in(config: &Value) -> Option<&str> {
    config.get("base_model_name_or_path")?.as_str()
}

/// That of the configuration beside an adapter's tensors.
pub(super) fn base_beside(path: &Path) -> Option<String> {
    let config = crate::store::read(&path.with_file_name(CONFIG), MAX_CONFIG).ok()?;
    base_in(&serde_json::from_slice(&config).ok()?).map(str::to_owned)
}
