//! `FocalNet` (Yang et al., arXiv 2203.11926) under the names of timm and of Hugging Face Transformers.
//!
//! A place is modulated by what depthwise convolutions of growing reach, each on the last, gather around it, weighed by gates of its own. The
//! two libraries differ in names, in 1x1 convolutions or linear layers, and in where the norms stand: timm names those behind otherwise,
//! Transformers says it in `use_post_layernorm` alone.

use super::config::{Config, Library};
use super::layers::{Conv, Groups, Layers, Padding, count};
use super::staged::{self, plus};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Unary};

const GELU: Unary = Unary::Gelu { tanh: false };

pub(super) static TIMM: Family = Family {
    name: "focalnet-timm",
    about: "FocalNet under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && staged::calls(name, &VARIANTS, |v| v.0),
    stems: &[],
    within: &[],
    shows: |shapes| if shapes.contains_key("layers.0.blocks.0.modulation.f.weight") { Likeness::Yes } else { Likeness::No },
    build: build_timm,
};

pub(super) static TRANSFORMERS: Family = Family {
    name: "focalnet-hf",
    about: "FocalNet under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.library == Library::Transformers && name.is_one_of(["focalnet"]),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let has = |end: &str| shapes.keys().any(|name| name.ends_with(end));
        if has("encoder.stages.0.layers.0.modulation.projection_in.weight") { Likeness::Yes } else { Likeness::No }
    },
    build: build_transformers,
};

/// Name, width, blocks of the third stage, focal levels and the first window of all of timm's.
static VARIANTS: [(&str, usize, usize, usize, usize); 12] = [
    ("focalnet_tiny_srf", 96, 6, 2, 3),
    ("focalnet_small_srf", 96, 18, 2, 3),
    ("focalnet_base_srf", 128, 18, 2, 3),
    ("focalnet_tiny_lrf", 96, 6, 3, 3),
    ("focalnet_small_lrf", 96, 18, 3, 3),
    ("focalnet_base_lrf", 128, 18, 3, 3),
    ("focalnet_large_fl3", 192, 18, 3, 5),
    ("focalnet_large_fl4", 192, 18, 4, 3),
    ("focalnet_xlarge_fl3", 256, 18, 3, 5),
    ("focalnet_xlarge_fl4", 256, 18, 4, 3),
    ("focalnet_huge_fl3", 352, 18, 3, 3),
    ("focalnet_huge_fl4", 352, 18, 4, 3),
];

/// How a library calls the parts of a block.
struct Parts {
    /// Into a query, a context and gates; of the context; out.
    modulation: [&'static str; 3],
    /// Behind the modulation, where there is one.
    inner: &'static str,
    norms: [&'static str; 2],
    /// Norms behind modulation and layers, where these have names of their own.
    behind: Option<[&'static str; 2]>,
    scales: [&'static str; 2],
}

static TIMM_PARTS: Parts = Parts {
    modulation: ["f", "h", "proj"],
    inner: "norm",
    norms: ["norm1", "norm2"],
    behind: Some(["norm1_post", "norm2_post"]),
    scales: ["ls1.gamma", "ls2.gamma"],
};

static TRANSFORMERS_PARTS: Parts = Parts {
    modulation: ["projection_in", "projection_context", "projection_out"],
    inner: "layernorm",
    norms: ["norm1", "norm2"],
    behind: None,
    scales: ["gamma_1", "gamma_2"],
};

/// A network and what is known of all its blocks.
struct Making<'n> {
    net: Layers<'n>,
    shapes: &'n Shapes,
    parts: &'static Parts,
    act: Unary,
    eps: f64,
    /// Norms stand behind, not in front.
    post: bool,
    /// The context is divided by how many summands it has.
    mean: bool,
    depths: Vec<usize>,
    dims: Vec<usize>,
    levels: Vec<usize>,
    windows: Vec<usize>,
}

impl<'n> Making<'n> {
    fn new(
        family: &'static str,
        source: &Source<'n>,
        parts: &'static Parts,
        stem: &str,
        (act, eps): (Unary, f64),
        (post, mean): (bool, bool),
    ) -> Result<(Self, NodeId), ArchError> {
        let (net, input) = Layers::new(family, source.shapes, stem, source.size, eps)?;
        let (depths, dims, levels, windows) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Ok((Self { net, shapes: source.shapes, parts, act, eps, post, mean, depths, dims, levels, windows }, input))
    }

    fn has(&self, name: &str) -> bool {
        self.shapes.contains_key(name)
    }

    /// Height of the kernel of a convolution in the file.
    fn kernel(&self, name: &str) -> usize {
        self.shapes.get(&format!("{name}.weight")).and_then(|shape| shape.get(2)).copied().unwrap_or(0)
    }

    /// Patches side by side, or windows that overlap: those are known by their kernel, 7 or 3. The norm behind.
    fn smaller(&mut self, conv: &str, norm: &str, x: NodeId, first: bool) -> Result<NodeId, ArchError> {
        let (overlapping, how) = if first { (7, Conv::new(4, 2)) } else { (3, Conv::new(2, 1)) };
        let how = match self.kernel(conv) {
            kernel if kernel == overlapping => how,
            kernel => Conv::new(kernel.max(1), 0),
        };
        let x = self.net.conv_as(conv, x, how)?;
        self.net.layer_norm_map(norm, x, self.eps)
    }

    /// A 1x1 convolution, or a linear layer on the channels.
    fn pointwise(&mut self, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
        if self.shapes.get(&format!("{name}.weight")).is_none_or(|shape| shape.len() == 4) {
            return self.net.conv(name, x, 1, Groups::One, Padding::Valid);
        }
        let x = self.net.transpose(&format!("{name}.last"), x, &[0, 2, 3, 1])?;
        let x = self.net.linear(name, x)?;
        self.net.transpose(&format!("{name}.first"), x, &[0, 3, 1, 2])
    }

    fn stage(&mut self, prefix: &str, mut x: NodeId) -> Result<NodeId, ArchError> {
        let depth = count(self.shapes, prefix);
        let focal = format!("{prefix}0.modulation.focal_layers.");
        self.depths.push(depth);
        self.dims.push(self.net.channels(x));
        self.levels.push(count(self.shapes, &focal));
        self.windows.push(self.kernel(&format!("{focal}0.0")));
        for i in 0..depth {
            x = self.block(&format!("{prefix}{i}"), x)?;
        }
        Ok(x)
    }

    fn block(&mut self, name: &str, input: NodeId) -> Result<NodeId, ArchError> {
        let mut x = input;
        for half in [0, 1] {
            let before = x;
            let behind = self.parts.behind.unwrap_or(self.parts.norms)[half];
            let (front, behind) = (format!("{name}.{}", self.parts.norms[half]), format!("{name}.{behind}"));
            if !self.post {
                x = self.net.layer_norm_map(&front, x, self.eps)?;
            }
            x = if half == 0 { self.modulated(&format!("{name}.modulation"), x)? } else { self.layers(&format!("{name}.mlp"), x)? };
            if self.post {
                x = self.net.layer_norm_map(&behind, x, self.eps)?;
            }
            x = self.net.scaled_map(&format!("{name}.{}", self.parts.scales[half]), x)?;
            x = self.net.sum(&format!("{name}.add{half}"), before, x)?;
        }
        Ok(x)
    }

    fn layers(&mut self, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
        let x = self.pointwise(&format!("{name}.fc1"), x)?;
        let x = self.net.act(&format!("{name}.act"), self.act, x)?;
        self.pointwise(&format!("{name}.fc2"), x)
    }

    fn modulated(&mut self, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
        let [into, context, out] = self.parts.modulation.map(|part| format!("{name}.{part}"));
        let inner = format!("{name}.{}", self.parts.inner);
        let (levels, channels) = (count(self.shapes, &format!("{name}.focal_layers.")), self.net.channels(x));
        let all = self.pointwise(&into, x)?;
        if self.net.is_whole() && self.net.channels(all) != 2 * channels + levels + 1 {
            let found = self.shapes.get(&format!("{into}.weight")).cloned().unwrap_or_default();
            return Ok(self.net.misfit(&format!("{into}.weight"), &found, &format!("[{}, {channels}]", 2 * channels + levels + 1), x));
        }
        let query = self.net.slice(&format!("{name}.query"), all, 1, 0, channels)?;
        let mut around = self.net.slice(&format!("{name}.context"), all, 1, channels, 2 * channels)?;
        let mut sum = None;
        for level in 0..=levels {
            let step = format!("{name}.level{level}");
            around = if level < levels {
                let layer = format!("{name}.focal_layers.{level}");
                let wider = self.net.conv(&format!("{layer}.0"), around, 1, Groups::Depthwise, Padding::Half)?;
                self.net.act(&format!("{layer}.1"), GELU, wider)?
            } else {
                let mean = self.net.mean(&format!("{step}.mean"), around, &[2, 3], true)?;
                self.net.act(&format!("{step}.act"), GELU, mean)?
            };
            let gate = self.net.slice(&format!("{step}.gate"), all, 1, 2 * channels + level, 2 * channels + level + 1)?;
            let gated = self.net.mul(&format!("{step}.gated"), around, gate)?;
            sum = Some(match sum {
                None => gated,
                Some(sum) => self.net.sum(&format!("{step}.sum"), sum, gated)?,
            });
        }
        let mut sum = sum.unwrap_or(around);
        if self.mean {
            sum = self.net.affine(&format!("{name}.divided"), sum, 1.0 / (levels as f64 + 1.0), 0.0)?;
        }
        let modulator = self.pointwise(&context, sum)?;
        let mut x = self.net.mul(&format!("{name}.modulated"), query, modulator)?;
        if self.net.may_have(&format!("{inner}.weight")) {
            x = self.net.layer_norm_map(&inner, x, self.eps)?;
        }
        self.pointwise(&out, x)
    }

    fn agrees(&self, config: &Config, depths: &[usize], levels: &[usize], windows: &[usize], width: usize) -> Result<(), ArchError> {
        staged::agree(config, "depths", &self.depths, Some(depths))?;
        staged::agree(config, "focal_levels", &self.levels, Some(levels))?;
        staged::agree(config, "focal_windows", &self.windows, Some(windows))?;
        staged::agree(config, "embed_dim", self.dims.get(..1).unwrap_or_default(), Some(&[width]))
    }

    /// For people.
    fn told(&self, library: &str) -> String {
        let width = self.dims.first().copied().unwrap_or(0);
        let act = if self.act == GELU { String::new() } else { format!(", {:?}", self.act) };
        let mut levels = self.levels.clone();
        levels.dedup();
        format!("FocalNet, {} blocks from width {width}, {} focal levels, {library} names{act}", plus(&self.depths), plus(&levels))
    }
}

fn build_timm(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, config, .. } = source;
    let Some(&(_, width, depth, levels, window)) = staged::entry(config, &VARIANTS, |v| v.0) else {
        return Err(ArchError::NeedsName {
            family: TIMM.name,
            what: "whether contexts are divided".to_owned(),
            names: vec!["timm/focalnet_tiny_srf".to_owned(), "timm/focalnet_base_lrf".to_owned()],
        });
    };
    let mean = config.flag("normalize_modulator", false)?;
    let max = staged::takes_greatest(config)?;
    config.shown(&["head_init_scale", "layerscale_value", "mlp_ratio", "proj_drop_rate"]);
    let post = shapes.contains_key("layers.0.blocks.0.norm1_post.weight");
    let (mut making, input) = Making::new(TIMM.name, source, &TIMM_PARTS, "stem.proj.weight", (GELU, 1e-5), (post, mean))?;
    let mut x = making.smaller("stem.proj", "stem.norm", input, true)?;
    let stages = count(shapes, "layers.");
    for stage in 0..stages {
        if stage > 0 {
            let down = format!("layers.{stage}.downsample");
            x = making.smaller(&format!("{down}.proj"), &format!("{down}.norm"), x, false)?;
        }
        x = making.stage(&format!("layers.{stage}.blocks."), x)?;
    }
    let hidden = making.has("head.pre_logits.fc.weight");
    if !hidden {
        x = making.net.layer_norm_map("norm", x, 1e-5)?;
    }
    x = making.net.pool("head.global_pool", max, x)?;
    if hidden {
        x = making.net.layer_norm("head.norm", x, 1e-5)?;
        x = making.net.linear("head.pre_logits.fc", x)?;
        x = making.net.act("head.pre_logits.act", Unary::Tanh, x)?;
    }
    if making.net.is_whole() {
        config.agrees("head_hidden_size", if hidden { making.net.width(x) } else { 0 })?;
    }
    x = staged::head(&mut making.net, shapes, "head.fc", x)?;
    if making.net.is_whole() && stages > 0 {
        making.agrees(config, &[2, 2, depth, 2], &[levels], &[window], width)?;
        staged::switch(config, "use_overlap_down", making.kernel("stem.proj") == 7)?;
        staged::switch(config, "use_post_norm", post)?;
        staged::switch(config, "use_post_norm_in_modulation", making.has("layers.0.blocks.0.modulation.norm.weight"))?;
    }
    let told = making.told("timm");
    let pool = if max { ", max pooling" } else { "" };
    making.net.finish(x, format!("{told}{pool}"))
}

fn build_transformers(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, config, .. } = source;
    let base = staged::base(shapes, "focalnet.");
    let embeddings = format!("{base}embeddings");
    let projection = format!("{embeddings}.patch_embeddings.projection");
    let act = config.act("hidden_act")?.unwrap_or(GELU);
    let eps = config.number("layer_norm_eps")?.unwrap_or(1e-5);
    let (post, mean) = (config.flag("use_post_layernorm", false)?, config.flag("normalize_modulator", false)?);
    let overlap = config.flag("use_conv_embed", false)?;
    let patch = staged::pair(config, "patch_size")?.unwrap_or([4; 2]);
    config.shown(&["drop_path_rate", "encoder_stride", "hidden_dropout_prob", "image_size", "layerscale_value"]);
    let (mut making, input) =
        Making::new(TRANSFORMERS.name, source, &TRANSFORMERS_PARTS, &format!("{projection}.weight"), (act, eps), (post, mean))?;
    let mut x = staged::padded(&mut making.net, &format!("{projection}.fill"), input, patch)?;
    x = making.smaller(&projection, &format!("{embeddings}.norm"), x, true)?;
    let stages = count(shapes, &format!("{base}encoder.stages."));
    for stage in 0..stages {
        let name = format!("{base}encoder.stages.{stage}");
        x = making.stage(&format!("{name}.layers."), x)?;
        if stage + 1 < stages {
            let down = format!("{name}.downsample");
            x = staged::padded(&mut making.net, &format!("{down}.fill"), x, [2; 2])?;
            x = making.smaller(&format!("{down}.projection"), &format!("{down}.norm"), x, false)?;
        }
    }
    x = making.net.layer_norm_map(&format!("{base}layernorm"), x, eps)?;
    x = making.net.pool("pooled", false, x)?;
    x = staged::head(&mut making.net, shapes, "classifier", x)?;
    making.net.leave_out(&format!("{embeddings}.mask_token"), "");
    making.net.leave_out("decoder.", "the decoder of images");
    if making.net.is_whole() && stages > 0 {
        making.agrees(config, &[2, 2, 6, 2], &[2; 4], &[3; 4], 96)?;
        let kernel = making.kernel(&projection);
        // A kernel of 7 is one that overlaps, unless patches are of that size.
        let patches = if overlap { kernel == 7 } else { patch == [kernel; 2] && kernel != 7 };
        if !patches {
            return Err(config.refused("patch_size", &patch.to_vec().into()));
        }
        config.widens("mlp_ratio", 4.0, shapes.get(&format!("{base}encoder.stages.0.layers.0.mlp.fc1.weight")))?;
        let blocks = making.depths.iter().sum();
        for (key, part) in [
            ("use_layerscale", ".gamma_1"),
            ("use_layerscale", ".gamma_2"),
            ("use_post_layernorm_in_modulation", ".modulation.layernorm.weight"),
        ] {
            let there = shapes.keys().filter(|name| name.ends_with(part)).count();
            config.tells(key, false, there > 0)?;
            config.tells(key, false, there >= blocks)?;
        }
    }
    let told = making.told("Hugging Face");
    let norms = if post { ", norms behind" } else { "" };
    making.net.finish(x, format!("{told}{norms}"))
}
