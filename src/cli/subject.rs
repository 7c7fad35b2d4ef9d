//! What `certify` and `plan` are about: a model, and the policy it is held against.

use std::path::{Path, PathBuf};

use super::failure::{Failure, Unsuited};
use super::hub::{self, Here};
use super::output::Output;
use super::{device, interrupt, machine, runtime};
use heirloom::model::Model;
use heirloom::policy::{self, Policy};
use heirloom::session::{OpenOptions, Session};

/// Largest input, in pixels a side, that the embedded 32-pixel images say something about.
const EMBEDDED_SIDE: usize = 64;

/// The model, the policy and the data of a certification.
#[derive(clap::Args, Debug)]
// One group of a command is called so, that of the command itself.
#[group(skip)]
pub struct Args {
    /// An .onnx or .safetensors file, the folder that holds one, or a model on a server: `hf://OWNER/NAME[@REVISION][/FILE]`,
    /// `s3://BUCKET/KEY`, `gs://BUCKET/KEY` or `az://CONTAINER/KEY`.
    #[arg(value_name = "MODEL", value_parser = super::hub::model)]
    pub model: PathBuf,
    /// What is run and what is accepted [default: an embedded policy with an embedded target task].
    #[arg(short, long, value_name = "FILE", value_parser = super::existing)]
    pub policy: Option<PathBuf>,
    /// Take the target task's images from here instead of where the policy says.
    #[arg(long, value_name = "PATH", value_parser = super::data)]
    pub data: Option<PathBuf>,
    /// Tensor at which features leave the network [default: found; see `heirloom inspect`].
    #[arg(long, value_name = "NAME")]
    pub features: Option<String>,
    /// Architecture of a file that holds weights only [default: from config.json or the tensor names].
    #[arg(long, value_name = "NAME")]
    pub arch: Option<String>,
    /// The library of ONNX Runtime.
    #[command(flatten)]
    pub runtime: runtime::Args,
}

/// A model with the policy it is held against.
pub(super) struct Subject {
    pub model: Model,
    pub policy: Policy,
    pub references: Vec<Model>,
    /// Where the model is.
    pub here: Here,
}

impl Subject {
    /// Opens both, in a session on a device; a model of the hub is kept in the folder `cache`, or in the usual one. A model that the embedded task
    /// does not suit is wrong usage, answered with a policy to start from.
    pub(super) fn open(
        args: &Args,
        device: &device::Args,
        cache: Option<&Path>,
        out: &Output,
    ) -> Result<(Session<'static>, Self), Failure> {
        let mut session = Session::new(device.open(out)?);
        session.stop = &interrupt::requested;
        let (checked, remarks) = if let Some(path) = &args.policy {
            policy::load_with(
                path,
                &policy::Options { data: args.data.clone(), salt: Some(machine::variable), ..policy::Options::default() },
            )?
        } else {
            let embedded = policy::embedded()?;
            (if let Some(path) = &args.data { embedded.with_data(path.clone()) } else { embedded }, Vec::new())
        };
        for remark in remarks {
            out.remark(&format!("warning: {}", remark.message));
        }
        session.runtime = args.runtime.open(&session.compute, out)?.runtime;
        let options = OpenOptions { features: args.features.clone(), arch: args.arch.clone() };
        let here = hub::here(&args.model, cache, out)?;
        let model = session.open(&here.path, &checked, &options)?;
        let size = [model.input.height, model.input.width];
        if args.policy.is_none() && size.iter().any(|side| *side > EMBEDDED_SIDE) {
            let full = model.inspection().modes.iter().any(|m| m.mode == "full_network" && m.possible);
            let starter = policy::starter(&model.identity.name(), size, full);
            let message = format!(
                "{} takes images of {}x{} pixels; the embedded target task has 32x32 and says nothing about it",
                model.identity.name(),
                size[0],
                size[1]
            );
            let model = args.model.display();
            let hint = format!(
                "`heirloom init {model} --data FOLDER > policy.yaml` writes a policy for your own pictures, one folder of them per class in FOLDER; run again \
                 with `--policy policy.yaml`. `heirloom plan {model} > policy.yaml` writes one to fill in by hand"
            );
            return Err(Unsuited { message, hint, starter }.into());
        }
        let references = session.references(&checked, &model)?;
        Ok((session, Self { model, policy: checked, references, here }))
    }
}
