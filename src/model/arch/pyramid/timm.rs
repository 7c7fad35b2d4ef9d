//! `PVTv2` and Twins under timm's names.

use super::blocks::network;
use super::sizes::{Asked, Found, Keys};
use super::{Names, V2, Variant, has, linearly, needs_name, pooled};
use crate::model::arch::config::{Library, Name};
use crate::model::arch::layers::Layers;
use crate::model::arch::{ArchError, Built, Family, Likeness, Source};

pub(in crate::model::arch) static PVT_V2: Family = Family {
    name: "pvt-v2",
    about: "PVTv2 under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && variant(&PVT_V2_VARIANTS, Some(name)).is_some(),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let shown = ["patch_embed.norm.weight", "stages.0.blocks.0.attn.kv.weight", "stages.0.blocks.0.mlp.dwconv.weight"];
        if shown.iter().all(|name| has(shapes, name)) { Likeness::Yes } else { Likeness::No }
    },
    build: pvt_v2,
};

pub(in crate::model::arch) static TWINS: Family = Family {
    name: "twins",
    about: "Twins-PCPVT and Twins-SVT under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && variant(&TWINS_VARIANTS, Some(name)).is_some(),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let shown = ["patch_embeds.0.proj.weight", "pos_block.0.proj.0.weight", "blocks.0.0.norm1.weight"];
        if shown.iter().all(|name| has(shapes, name)) { Likeness::Yes } else { Likeness::No }
    },
    build: twins,
};

const PVT_V2_NAMES: Names = Names {
    first: ["patch_embed.proj", "patch_embed.norm"],
    embedding: ["stages.{s}.downsample.proj", "stages.{s}.downsample.norm"],
    positions: "",
    class: "",
    blocks: "stages.{s}.blocks.",
    norms: ["norm1", "norm2"],
    query: "attn.q",
    keys: &["attn.kv"],
    coarser: ["attn.sr", "attn.norm"],
    proj: "attn.proj",
    mlp: ["mlp.fc1", "mlp.fc2"],
    depthwise: "mlp.dwconv",
    behind_first: "",
    norm: "stages.{s}.norm",
    head: "head",
};

const TWINS_NAMES: Names = Names {
    first: ["patch_embeds.0.proj", "patch_embeds.0.norm"],
    embedding: ["patch_embeds.{s}.proj", "patch_embeds.{s}.norm"],
    blocks: "blocks.{s}.",
    depthwise: "",
    behind_first: "pos_block.{s}.proj.0",
    norm: "norm",
    ..PVT_V2_NAMES
};

static PVT_V2_VARIANTS: [Variant; 7] = [
    Variant { name: "pvt_v2_b0", widths: [32, 64, 160, 256], ..V2 },
    Variant { name: "pvt_v2_b1", ..V2 },
    Variant { name: "pvt_v2_b2", depths: [3, 4, 6, 3], ..V2 },
    Variant { name: "pvt_v2_b3", depths: [3, 4, 18, 3], ..V2 },
    Variant { name: "pvt_v2_b4", depths: [3, 8, 27, 3], ..V2 },
    Variant { name: "pvt_v2_b5", depths: [3, 6, 40, 3], ratios: [4, 4, 4, 4], ..V2 },
    Variant { name: "pvt_v2_b2_li", depths: [3, 4, 6, 3], linear: true, ..V2 },
];

const PCPVT: Variant = Variant { depths: [3, 4, 6, 3], kernels: [4, 2, 2, 2], ..V2 };
const SVT: Variant = Variant { depths: [2, 2, 18, 2], ratios: [4, 4, 4, 4], windows: Some(7), ..PCPVT };

static TWINS_VARIANTS: [Variant; 6] = [
    Variant { name: "twins_pcpvt_small", ..PCPVT },
    Variant { name: "twins_pcpvt_base", depths: [3, 4, 18, 3], ..PCPVT },
    Variant { name: "twins_pcpvt_large", depths: [3, 8, 27, 3], ..PCPVT },
    Variant { name: "twins_svt_small", depths: [2, 2, 10, 4], widths: [64, 128, 256, 512], heads: [2, 4, 8, 16], ..SVT },
    Variant { name: "twins_svt_base", widths: [96, 192, 384, 768], heads: [3, 6, 12, 24], ..SVT },
    Variant { name: "twins_svt_large", widths: [128, 256, 512, 1024], heads: [4, 8, 16, 32], ..SVT },
];

fn variant<'v>(all: &'v [Variant], name: Option<&Name>) -> Option<&'v Variant> {
    let name = name?;
    all.iter().find(|variant| name.is_one_of([variant.name]))
}

const TIMM_DROPS: [&str; 3] = ["attn_drop_rate", "pos_drop_rate", "proj_drop_rate"];

const TIMM_KEYS: Keys = Keys { widths: "embed_dims", kernels: None, strides: None, coarser: "sr_ratios", heads: "num_heads" };

fn pvt_v2(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let usual = variant(&PVT_V2_VARIANTS, config.name.as_ref());
    let usual = usual.ok_or_else(|| needs_name(&PVT_V2, &["timm/pvt_v2_b0", "timm/pvt_v2_b2"]))?;
    config.shown(&TIMM_DROPS);
    let names = &PVT_V2_NAMES;
    let found = Found::of(shapes, "", names);
    let asked = Asked { inner_eps: 1e-5, ..Asked::of(config, &found, &TIMM_KEYS, usual)? };
    let (mut net, input) = Layers::new(PVT_V2.name, shapes, &format!("{}.weight", names.first[0]), *size, 1e-5)?;
    let (x, map) = network(&mut net, "", input, names, &found, &asked)?;
    let x = match config.pooling("avg")? {
        "avg" => pooled(&mut net, shapes, names.head, x)?,
        "" if !has(shapes, "head.weight") => net.map("map", x, map)?,
        other => return Err(config.refused("global_pool", &other.into())),
    };
    net.finish(x, format!("PVTv2, {}{}, timm names", found.told(), linearly(asked.linear)))
}

fn twins(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let usual = variant(&TWINS_VARIANTS, config.name.as_ref());
    let usual = usual.ok_or_else(|| needs_name(&TWINS, &["timm/twins_pcpvt_small", "timm/twins_svt_small"]))?;
    config.shown(&TIMM_DROPS);
    config.shown(&["img_size"]);
    let names = &TWINS_NAMES;
    let found = Found::of(shapes, "", names);
    config.agrees("patch_size", found.kernels.first().copied().unwrap_or(0))?;
    let mut asked =
        Asked { inner_eps: 1e-5, overlap: false, strides: found.kernels.clone(), ..Asked::of(config, &found, &TIMM_KEYS, usual)? };
    let windows = config.counts("wss")?.or(usual.windows.map(|side| vec![side; found.stages()]));
    asked.windows = windows.unwrap_or_default();
    let (mut net, input) = Layers::new(TWINS.name, shapes, &format!("{}.weight", names.first[0]), *size, 1e-5)?;
    let (x, _) = network(&mut net, "", input, names, &found, &asked)?;
    let x = match config.pooling("avg")? {
        "avg" => pooled(&mut net, shapes, names.head, x)?,
        "" if !has(shapes, "head.weight") => x,
        other => return Err(config.refused("global_pool", &other.into())),
    };
    let kind = if asked.windows.is_empty() { "Twins, PCPVT" } else { "Twins, SVT" };
    net.finish(x, format!("{kind}, {}, timm names", found.told()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::arch::Shapes;

    #[test]
    fn heads_come_of_a_name_or_a_configuration() {
        let shapes = Shapes::from([("patch_embed.proj.weight".to_owned(), vec![8, 3, 7, 7])]);
        let told = pvt_v2(&Source::plain(&shapes, [32, 32])).expect_err("refused").to_string();
        assert!(told.contains("number of heads") && told.contains("timm/pvt_v2_b0"), "{told}");
        assert!(variant(&TWINS_VARIANTS, Some(&Name::of("twins_svt_base.in1k", Library::Timm))).is_some());
        assert!(variant(&PVT_V2_VARIANTS, Some(&Name::of("pvt_v2_b6", Library::Timm))).is_none());
    }
}
