//! `BEiT` (Bao et al., arXiv 2106.08254) and `data2vec` for images (Baevski et al., 2202.03555) under the names of Hugging Face Transformers.
//!
//! Scores have a learnt bias by the offset between places, of each block and, where the file has it, of all. For images of another size than
//! the configuration's the table of offsets is brought to theirs as Transformers does it, linearly.

use super::config::Library;
use super::layers::{Grid, Layers, count};
use super::made::Resample;
use super::token_parts::{biased_by, grid_in_file, index_array, patch, patches, relative, resized_offsets, sides, square};
use super::{ArchError, Built, Family, Likeness, Source};
use crate::graph::{NodeId, Role, Unary};

type Made = Result<NodeId, ArchError>;

pub(super) static FAMILY: Family = Family {
    name: "beit-hf",
    about: "BEiT and data2vec for images under Hugging Face Transformers' names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Transformers) && name.is_one_of(["beit", "data2vec-vision"]),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let own = shapes.keys().any(|name| name.starts_with("beit.embeddings.") || name.starts_with("data2vec_vision.embeddings."));
        if own { Likeness::Yes } else { Likeness::No }
    },
    build,
};

/// What tensors do not show.
struct Asked {
    heads: usize,
    act: Unary,
    eps: f64,
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, config } = source;
    config.must_be_there(FAMILY.name, "heads", "beit")?;
    config.shown(&[
        "add_fpn",
        "attention_probs_dropout_prob",
        "auxiliary_channels",
        "auxiliary_concat_input",
        "auxiliary_loss_weight",
        "auxiliary_num_convs",
        "drop_path_rate",
        "hidden_dropout_prob",
        "pool_scales",
        "reshape_hidden_states",
        "segmentation_indices",
        "semantic_loss_ignore_index",
        "use_auxiliary_head",
        "use_mask_token",
        "vocab_size",
    ]);
    let asked = Asked {
        heads: config.count("num_attention_heads")?.unwrap_or(12),
        act: config.act("hidden_act")?.unwrap_or(Unary::Gelu { tanh: false }),
        eps: config.number("layer_norm_eps")?.unwrap_or(1e-12),
    };
    let mean = config.flag("use_mean_pooling", true)?;
    let prefixes = ["beit.", "data2vec_vision."];
    let base = prefixes.into_iter().find(|prefix| shapes.keys().any(|name| name.starts_with(prefix))).unwrap_or_default();
    let at = |part: &str| format!("{base}{part}");
    let stem = at("embeddings.patch_embeddings.projection");
    let weight = format!("{stem}.weight");
    let (mut net, input) = Layers::new(FAMILY.name, shapes, &weight, *size, 1e-5)?;
    let patch = patch(&mut net, config, &weight, "patch_size")?;
    let map = patches(&mut net, &stem, input, patch)?;
    let grid = net.size(map);
    let mut x = net.tokens(&at("embeddings.tokens"), map)?;
    let width = net.width(x);
    let depth = count(shapes, &at("encoder.layer."));
    config.agrees_or("num_hidden_layers", 12, depth)?;
    if net.is_whole() {
        config.agrees_or("hidden_size", 768, width)?;
    }
    let any = |part: &str| shapes.keys().any(|name| name.starts_with(base) && name.ends_with(part));
    let table = "relative_position_bias.relative_position_bias_table";
    config.tells("use_absolute_position_embeddings", false, shapes.contains_key(&at("embeddings.position_embeddings")))?;
    config.tells("use_relative_position_bias", false, any(&format!(".attention.{table}")))?;
    config.tells("use_shared_relative_position_bias", false, shapes.contains_key(&at(&format!("encoder.{table}"))))?;
    config.tells_above_zero("layer_scale_init_value", 0.1, any(".lambda_1") || any(".lambda_2"))?;
    if let Some(hidden) = shapes.get(&at("encoder.layer.0.intermediate.dense.weight")).and_then(|shape| shape.first()) {
        config.agrees_or("intermediate_size", 3072, *hidden)?;
    }
    let image = sides(config, "image_size")?;
    net.leave_out(&at("embeddings.mask_token"), "");
    x = net.token_in_front(&at("embeddings.cls_token"), x)?;
    let positions = at("embeddings.position_embeddings");
    if net.has(&positions) {
        let rows = net.look(&positions).and_then(|shape| shape.get(1).copied()).unwrap_or(0);
        let from = grid_in_file(image, patch, rows.saturating_sub(1)).unwrap_or(grid);
        if let Some(node) = net.positions(&positions, Grid { before: 1, from, to: grid, how: Resample::Bicubic, step: None }) {
            x = net.sum(&format!("{positions}.add"), x, node)?;
        }
    }
    let shared = offsets(&mut net, &at("encoder.relative_position_bias"), grid, None)?;
    for layer in 0..depth {
        let name = at(&format!("encoder.layer.{layer}"));
        let bias = offsets(&mut net, &format!("{name}.attention.attention.relative_position_bias"), grid, shared)?;
        x = residual(&mut net, &name, x, &asked, bias)?;
    }
    let pooler = at("pooler.layernorm");
    x = if mean && !net.has(&format!("{pooler}.weight")) && !net.has("classifier.weight") {
        // Saved without the pooler, the model gives its tokens as they are.
        x
    } else if mean {
        let places = net.slice(&at("pooler.places"), x, 1, 1, grid[0] * grid[1] + 1)?;
        let mean = net.mean(&at("pooler.mean"), places, &[1], false)?;
        net.layer_norm(&pooler, mean, asked.eps)?
    } else {
        let normed = net.layer_norm(&at("layernorm"), x, asked.eps)?;
        net.pick(&at("pooler"), normed, 1, 0)?
    };
    if net.has("classifier.weight") {
        x = net.linear("classifier", x)?;
    }
    let told = if asked.act == (Unary::Gelu { tanh: false }) { String::new() } else { format!(", {:?}", asked.act) };
    let data2vec = base.starts_with("data2vec") || config.name.as_ref().is_some_and(|name| name.plain.starts_with("data2vec"));
    let kind = if data2vec { "data2vec" } else { "BEiT" };
    let pool = if mean { "mean" } else { "class token" };
    net.finish(x, format!("{kind}, {depth} blocks of width {width}, {} heads, {pool}, Hugging Face names{told}", asked.heads))
}

/// What is added to scores by a table of offsets of that name, where the file has one, and by `shared`.
fn offsets(net: &mut Layers, name: &str, grid: [usize; 2], shared: Option<NodeId>) -> Result<Option<NodeId>, ArchError> {
    let table = format!("{name}.relative_position_bias_table");
    if !net.may_have(&table) || !net.is_whole() {
        return Ok(shared);
    }
    let found = net.look(&table).unwrap_or_default();
    let from = match found.as_slice() {
        &[rows, _] => square(rows.saturating_sub(3)).filter(|side| side[0] % 2 == 1),
        _ => None,
    };
    let Some(from) = from else {
        net.misfit(&table, &found, "[offsets of a square, and 3, heads]", NodeId(0));
        return Ok(shared);
    };
    let to = grid.map(|side| (2 * side).saturating_sub(1));
    let own = from.map(|side| side.div_ceil(2));
    let places = own[0] * own[1] + 1;
    net.buffer(&format!("{name}.relative_position_index"), index_array(&[places, places], &relative(own)));
    let node = if from == to {
        Some(net.tensor(&table, &found, Role::Embedding))
    } else {
        let shape = [to[0] * to[1] + 3, found[1]];
        net.made(&[&table], &shape, Role::Embedding, move |tensors| {
            tensors.first().map(|table| resized_offsets(table, from, to, Resample::Bilinear)).unwrap_or_default()
        })
    };
    let Some(node) = node else { return Ok(shared) };
    let bias = biased_by(net, name, node, grid[0] * grid[1] + 1, &relative(grid))?;
    match shared {
        None => Ok(Some(bias)),
        Some(shared) => net.sum(&format!("{name}.both"), bias, shared).map(Some),
    }
}

fn residual(net: &mut Layers, name: &str, input: NodeId, asked: &Asked, bias: Option<NodeId>) -> Made {
    let at = |part: &str| format!("{name}.{part}");
    let x = net.layer_norm(&at("layernorm_before"), input, asked.eps)?;
    let mut q = net.linear(&at("attention.attention.query"), x)?;
    let k = net.linear(&at("attention.attention.key"), x)?;
    let v = net.linear(&at("attention.attention.value"), x)?;
    if net.is_whole() {
        q = net.heads(&at("attention.q"), q, asked.heads)?;
        let k = net.heads(&at("attention.k"), k, asked.heads)?;
        let v = net.heads(&at("attention.v"), v, asked.heads)?;
        let scale = (net.width(q).max(1) as f64).powf(-0.5);
        q = net.attend(&at("attention"), [q, k, v], scale, bias)?;
    }
    let x = net.linear(&at("attention.output.dense"), q)?;
    let x = net.scaled(&at("lambda_1"), x)?;
    let middle = net.sum(&at("attention.add"), x, input)?;
    let x = net.layer_norm(&at("layernorm_after"), middle, asked.eps)?;
    let x = net.mlp([&at("intermediate.dense"), &at("output.dense")], x, asked.act)?;
    let x = net.scaled(&at("lambda_2"), x)?;
    net.sum(&at("output.add"), x, middle)
}
