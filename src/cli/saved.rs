//! `--save-checkpoints` and `--tensorboard`: which fine-tunes are saved, and where.

use std::path::PathBuf;

use heirloom::diag;
use heirloom::engine::{Save, Saved};

/// Fine-tunes that are saved beside the reports.
// One group of a command is called so, that of the command itself.
#[derive(clap::Args, Debug)]
#[group(skip)]
// Both may be given; what says which fine-tunes needs one of them.
#[command(group = clap::ArgGroup::new("saved").multiple(true))]
pub struct Args {
    /// Save the source's fine-tunes into this folder: each as an ONNX file that runs on its own, from image to logits, and checkpoints.json, which lists
    /// them with their digests and accuracies. What is there is not written over.
    #[arg(long, value_name = "DIR", value_parser = super::results, group = "saved")]
    pub save_checkpoints: Option<PathBuf>,
    /// Save how the source's fine-tunes were trained, for TensorBoard: loss, accuracy and learning rate of each epoch.
    #[arg(long, value_name = "DIR", value_parser = super::results, group = "saved")]
    pub tensorboard: Option<PathBuf>,
    /// With these two, save the fine-tunes of the controls as well: networks from scratch, untrained ones, references.
    #[arg(long, requires = "saved")]
    pub save_controls: bool,
}

impl Args {
    /// What the options say.
    pub(super) fn save(&self) -> Save {
        let (checkpoints, tensorboard) = (self.save_checkpoints.clone(), self.tensorboard.clone());
        Save { checkpoints, tensorboard, controls: self.save_controls }
    }

    /// What to tell the user before anything runs.
    pub(super) fn facts(&self, cache: bool) -> Vec<(&'static str, String)> {
        let of = if self.save_controls { "all fine-tunes" } else { "the fine-tunes of the source" };
        // The cache keeps what fine-tunes answered, and the weights of small whole networks.
        let anew = |without: &str| if cache { format!("; what the cache keeps of them {without}") } else { String::new() };
        let checkpoints = self.save_checkpoints.as_ref().map(|folder| {
            let anew = if self.tensorboard.is_some() { String::new() } else { anew("is trained anew, unless it keeps their weights") };
            ("checkpoints", format!("{of} are saved into {}{anew}", folder.display()))
        });
        let curves = self
            .tensorboard
            .as_ref()
            .map(|folder| ("curves", format!("how {of} are trained is saved into {}{}", folder.display(), anew("is trained anew"))));
        [checkpoints, curves].into_iter().flatten().collect()
    }

    /// What to tell the user of what was saved.
    pub(super) fn remarks(&self, saved: &Saved) -> Vec<String> {
        let checkpoints = self.save_checkpoints.as_ref().map(|folder| {
            let list =
                if saved.checkpoints > 0 { format!("; {} lists them", folder.join("checkpoints.json").display()) } else { String::new() };
            format!("  checkpoints: {} saved{list}", diag::count(saved.checkpoints, "fine-tune"))
        });
        let curves = self.tensorboard.as_ref().map(|folder| {
            let curves = diag::count(saved.curves, "fine-tune");
            format!("  curves: {curves} saved; `tensorboard --logdir {}` shows them", folder.display())
        });
        [checkpoints, curves].into_iter().flatten().collect()
    }
}
