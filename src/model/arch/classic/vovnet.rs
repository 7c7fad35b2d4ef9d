//! `VoVNet` v1 and v2 under timm's names.
//!
//! Lee et al. (arXiv 1904.09730); Lee, Park (arXiv 1911.06667). A block joins what each of its convolutions gave. Depths, widths, separable
//! convolutions and attention follow from the tensors; whether later blocks of a stage add their input, only the name says.

use super::{Move, ceil_pool, conv_norm, head, likeness, max_pooling, plain_timm, row, same, told, unit};
use crate::graph::{NodeId, Role, Unary};
use crate::model::arch::config::Library;
use crate::model::arch::layers::{Conv, Groups, Layers, Padding, count};
use crate::model::arch::{ArchError, Built, Family, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "vovnet",
    about: "VoVNet v1 and v2 (`vovnet39a`, `ese_vovnet19b_dw` and their like) under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES.iter().map(|(name, _)| *name)),
    stems: &[],
    within: &[],
    shows: |shapes| likeness(shapes, "stages.0.blocks.0.conv_concat.conv.weight"),
    build,
};

/// Blocks in each stage, and whether all but the first add their input. `ese_vovnet39b_evos` has other norms.
const NAMES: [(&str, ([usize; 4], bool)); 9] = [
    ("vovnet39a", ([1, 1, 2, 2], false)),
    ("vovnet57a", ([1, 1, 4, 3], false)),
    ("ese_vovnet19b_slim_dw", ([1, 1, 1, 1], true)),
    ("ese_vovnet19b_dw", ([1, 1, 1, 1], true)),
    ("ese_vovnet19b_slim", ([1, 1, 1, 1], true)),
    ("ese_vovnet39b", ([1, 1, 2, 2], true)),
    ("ese_vovnet57b", ([1, 1, 4, 3], true)),
    ("ese_vovnet99b", ([1, 3, 9, 3], true)),
    ("eca_vovnet39b", ([1, 1, 2, 2], true)),
];

fn build(source: &Source) -> Result<Built, ArchError> {
    let &Source { shapes, size, ref config } = source;
    plain_timm(config)?;
    config.only("stem_stride", 4)?;
    config.shown(&["attn", "depthwise", "stage_conv_chs", "stem_chs"]);
    let out =
        |stage: usize| shapes.get(&format!("stages.{stage}.blocks.0.conv_concat.conv.weight")).and_then(|shape| shape.first()).copied();
    super::listed(config, "stage_out_chs", &(0..4).map_while(out).collect::<Vec<_>>())?;
    config.agrees("layer_per_block", count(shapes, "stages.0.blocks.0.conv_mid."))?;
    let Some((said, adds)) = row(config, &NAMES) else {
        let what = "whether its blocks add their input".to_owned();
        return Err(ArchError::NeedsName { family: FAMILY.name, what, names: vec!["timm/vovnet39a".into(), "timm/ese_vovnet39b".into()] });
    };
    let blocks: Vec<usize> = (0..4).map(|stage| count(shapes, &format!("stages.{stage}.blocks."))).collect();
    if !super::listed(config, "block_per_stage", &blocks)? {
        same(config, "stages of this many blocks:", said, &blocks)?;
    }
    let adds = config.flag("residual", *adds)?;
    let act = config.act("act_layer")?.unwrap_or(Unary::Relu);
    let max = max_pooling(config)?;
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "stem.0.conv.weight", size, 1e-5)?;
    for (i, stride) in [2, 1, 2].into_iter().enumerate() {
        x = convolution(&mut net, &format!("stem.{i}"), x, stride, act)?;
    }
    for (stage, &blocks) in blocks.iter().enumerate() {
        if stage > 0 {
            x = ceil_pool(&mut net, &format!("stages.{stage}.pool"), x, 3, 2)?;
        }
        for block in 0..blocks {
            let name = format!("stages.{stage}.blocks.{block}");
            let given = joined(&mut net, &name, x, act)?;
            x = if adds && block > 0 { net.sum(&format!("{name}.add"), given, x)? } else { given };
        }
    }
    x = net.pool("head.global_pool", max, x)?;
    x = head(&mut net, shapes, "head.fc", x)?;
    net.finish(x, format!("VoVNet, stages of {} blocks, timm names{}", super::words(&blocks), told(Some((Unary::Relu, act)), max)))
}

/// A convolution, whole or separable.
fn convolution(net: &mut Layers, name: &str, x: NodeId, stride: usize, act: Unary) -> Result<NodeId, ArchError> {
    if !net.has(&format!("{name}.conv_dw.weight")) {
        return unit(net, name, x, Move::half(stride), Some(act));
    }
    let x = net.conv(&format!("{name}.conv_dw"), x, stride, Groups::Depthwise, Padding::Half)?;
    conv_norm(net, [&format!("{name}.conv_pw"), &format!("{name}.bn")], x, Move::half(1), Some(act))
}

fn joined(net: &mut Layers, name: &str, input: NodeId, act: Unary) -> Result<NodeId, ArchError> {
    let mut x = input;
    if net.has(&format!("{name}.conv_reduction.conv.weight")) {
        x = unit(net, &format!("{name}.conv_reduction"), x, Move::half(1), Some(act))?;
    }
    let mut all = vec![input];
    let there = |net: &Layers, i: usize| ["conv", "conv_dw"].iter().any(|part| net.has(&format!("{name}.conv_mid.{i}.{part}.weight")));
    let mut i = 0;
    while there(net, i) {
        x = convolution(net, &format!("{name}.conv_mid.{i}"), x, 1, act)?;
        all.push(x);
        i += 1;
    }
    x = net.concat(&format!("{name}.concat"), 1, &all)?;
    x = unit(net, &format!("{name}.conv_concat"), x, Move::half(1), Some(act))?;
    if net.has(&format!("{name}.attn.fc.weight")) {
        let mean = net.mean(&format!("{name}.attn.mean"), x, &[2, 3], true)?;
        let gate = net.conv(&format!("{name}.attn.fc"), mean, 1, Groups::One, Padding::Half)?;
        let gate = net.act(&format!("{name}.attn.gate"), Unary::HardSigmoid { alpha: 1.0 / 6.0, beta: 0.5 }, gate)?;
        x = net.mul(&format!("{name}.attn"), x, gate)?;
    } else if net.has(&format!("{name}.attn.conv.weight")) {
        x = efficient_attention(net, &format!("{name}.attn"), x)?;
    }
    Ok(x)
}

/// Channels times what a convolution along them makes of their means (`ECA`, Wang et al., arXiv 1910.03151).
fn efficient_attention(net: &mut Layers, name: &str, x: NodeId) -> Result<NodeId, ArchError> {
    let weight = format!("{name}.conv.weight");
    let Some(found) = net.look(&weight) else { return Ok(x) };
    let &[1, 1, kernel] = found.as_slice() else { return Ok(net.misfit(&weight, &found, "[1, 1, kernel]", x)) };
    let channels = net.channels(x);
    let mean = net.mean(&format!("{name}.mean"), x, &[2, 3], false)?;
    let line = net.reshape(&format!("{name}.line"), mean, &[1, 1, channels])?;
    let taps = net.tensor(&weight, &found, Role::Weight);
    let taps = net.reshape_fixed(&format!("{name}.taps"), taps, &[1, 1, 1, kernel])?;
    let side = kernel / 2;
    let how = Conv { pads: [0, side, 0, side], ..Conv::new(1, 0) };
    let gate = net.conv_by(&format!("{name}.conv"), line, taps, &format!("{name}.conv.bias"), how)?;
    let gate = net.act(&format!("{name}.gate"), Unary::Sigmoid, gate)?;
    let gate = net.reshape(&format!("{name}.gates"), gate, &[channels, 1, 1])?;
    net.mul(name, x, gate)
}
