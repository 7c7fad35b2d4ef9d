//! `EfficientFormer` under timm's names.
//!
//! Li et al., "`EfficientFormer`: Vision Transformers at MobileNet Speed" (arXiv 2206.01191). Blocks pool, but for the last ones, in which
//! places attend to each other, with what is learnt for every distance of a 7x7 grid. Two heads, one trained with a teacher, read the same
//! features, and their answers are averaged.

use ndarray::ArrayD;

use super::config::Library;
use super::hybrid::{agree, answers, distance_bias, distances, heads_of_three, mean_only, same_grid, side};
use super::layers::{Groups, Layers, Padding, count};
use super::{ArchError, Built, Family, Likeness, Shapes, Source};
use crate::graph::{NodeId, Unary};

type Made = Result<NodeId, ArchError>;

const NAMES: [&str; 3] = ["efficientformer_l1", "efficientformer_l3", "efficientformer_l7"];

pub(super) static FAMILY: Family = Family {
    name: "efficientformer",
    about: "EfficientFormer under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && name.is_one_of(NAMES),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let biases = |name: &String| name.starts_with("stages.3.blocks.") && name.ends_with(".token_mixer.attention_biases");
        let own = shapes.contains_key("stem.conv1.weight") && shapes.contains_key("stages.0.blocks.0.mlp.fc1.weight");
        if own && shapes.keys().any(biases) { Likeness::Yes } else { Likeness::No }
    },
    build,
};

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    let act = config.act("act_layer")?.unwrap_or(Unary::Gelu { tanh: false });
    config.only("pool_size", 3)?;
    config.shown(&["downsamples", "img_size", "layer_scale_init_value", "mlp_ratios", "num_vit", "proj_drop_rate"]);
    mean_only(config)?;
    let blocks: Vec<Vec<usize>> = (0..count(shapes, "stages.")).map(|stage| blocks(shapes, stage)).collect();
    agree(config, "depths", &blocks.iter().map(Vec::len).collect::<Vec<_>>())?;
    let (mut net, mut x) = Layers::new(FAMILY.name, shapes, "stem.conv1.weight", *size, 1e-5)?;
    for i in 1..=2 {
        x = net.conv(&format!("stem.conv{i}"), x, 2, Groups::One, Padding::Half)?;
        x = net.norm(&format!("stem.norm{i}"), x)?;
        x = net.act(&format!("stem.act{i}"), Unary::Relu, x)?;
    }
    let mut widths = Vec::new();
    let mut grid = None;
    for (stage, blocks) in blocks.iter().enumerate() {
        let down = format!("stages.{stage}.downsample");
        if net.has(&format!("{down}.conv.weight")) {
            x = net.conv(&format!("{down}.conv"), x, 2, Groups::One, Padding::Half)?;
            x = net.norm(&format!("{down}.norm"), x)?;
        }
        widths.push(net.channels(x));
        for block in blocks {
            let name = format!("stages.{stage}.blocks.{block}");
            if net.has(&format!("{name}.token_mixer.qkv.weight")) {
                let size = net.size(x);
                if grid.is_none() {
                    x = net.tokens(&format!("stages.{stage}.flat"), x)?;
                }
                let size = *grid.get_or_insert(size);
                x = attending(&mut net, &name, x, size, act)?;
            } else {
                x = pooling(&mut net, &name, x, act)?;
            }
        }
    }
    agree(config, "embed_dims", &widths)?;
    if grid.is_none() {
        net.look("stages.3.blocks.0.token_mixer.qkv.weight");
    }
    x = net.layer_norm("norm", x, 1e-5)?;
    x = net.mean("global_pool", x, &[1], false)?;
    x = answers(&mut net, x, &["head", "head_dist"].map(|head| (None, head.to_owned())))?;
    net.finish(x, format!("EfficientFormer, {} blocks, timm names", blocks.iter().map(Vec::len).sum::<usize>()))
}

/// The numbers of a stage's blocks: one is left out where the map becomes tokens.
fn blocks(shapes: &Shapes, stage: usize) -> Vec<usize> {
    let has = |block: usize| shapes.contains_key(&format!("stages.{stage}.blocks.{block}.mlp.fc1.weight"));
    let last = (0..shapes.len()).take_while(|&block| has(block) || has(block + 1)).last();
    (0..=last.unwrap_or(0)).filter(|&block| has(block)).collect()
}

fn pooling(net: &mut Layers, name: &str, input: NodeId, act: Unary) -> Made {
    let x = net.avg_pool(&format!("{name}.token_mixer.pool"), input, 3, 1, 1, false)?;
    let x = net.sub(&format!("{name}.token_mixer"), x, input)?;
    let x = net.scaled_map(&format!("{name}.ls1.gamma"), x)?;
    let input = net.sum(&format!("{name}.add1"), input, x)?;
    let mut x = net.conv(&format!("{name}.mlp.fc1"), input, 1, Groups::One, Padding::Half)?;
    x = net.norm(&format!("{name}.mlp.norm1"), x)?;
    x = net.act(&format!("{name}.mlp.act"), act, x)?;
    x = net.conv(&format!("{name}.mlp.fc2"), x, 1, Groups::One, Padding::Half)?;
    x = net.norm(&format!("{name}.mlp.norm2"), x)?;
    let x = net.scaled_map(&format!("{name}.ls2.gamma"), x)?;
    net.sum(&format!("{name}.add2"), input, x)
}

fn attending(net: &mut Layers, name: &str, input: NodeId, grid: [usize; 2], act: Unary) -> Made {
    let x = net.layer_norm(&format!("{name}.norm1"), input, 1e-5)?;
    let x = attention(net, &format!("{name}.token_mixer"), x, grid)?;
    let x = net.scaled(&format!("{name}.ls1.gamma"), x)?;
    let input = net.sum(&format!("{name}.add1"), input, x)?;
    let x = net.layer_norm(&format!("{name}.norm2"), input, 1e-5)?;
    let x = net.mlp([&format!("{name}.mlp.fc1"), &format!("{name}.mlp.fc2")], x, act)?;
    let x = net.scaled(&format!("{name}.ls2.gamma"), x)?;
    net.sum(&format!("{name}.add2"), input, x)
}

fn attention(net: &mut Layers, name: &str, x: NodeId, grid: [usize; 2]) -> Made {
    let table = format!("{name}.attention_biases");
    let Some(found) = net.look(&table) else { return Ok(x) };
    if let Some(side) = found.get(1).copied().and_then(side) {
        same_grid(net, grid, [side; 2])?;
    }
    let bias = distance_bias(net, &table, grid, 1)?;
    if net.is_whole() {
        let places = grid[0] * grid[1];
        let indices = distances(grid, 1).into_iter().map(|index| index as f64).collect();
        net.buffer(&format!("{name}.attention_bias_idxs"), ArrayD::from_shape_vec(vec![places; 2], indices).unwrap_or_default());
    }
    let x = net.linear(&format!("{name}.qkv"), x)?;
    let heads = found.first().copied().unwrap_or(0);
    let values = net.look(&format!("{name}.proj.weight")).and_then(|shape| shape.get(1).copied()).unwrap_or(0);
    let parts @ [q, ..] = heads_of_three(net, &format!("{name}.qkv"), x, heads, values)?;
    let scale = (net.width(q).max(1) as f64).powf(-0.5);
    let x = net.attend(name, parts, scale, Some(bias))?;
    net.linear(&format!("{name}.proj"), x)
}
