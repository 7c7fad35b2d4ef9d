//! `MaxViT` under torchvision's names.

use super::{GELU, Made, SILU, told};
use crate::graph::{NodeId, Unary};
use crate::model::arch::config::Library;
use crate::model::arch::layers::{Groups, Layers, Padding, count};
use crate::model::arch::windows::{Windows, bias, offsets};
use crate::model::arch::{ArchError, Built, Family, Likeness, Source};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "maxvit-torchvision",
    about: "MaxViT under torchvision's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Torchvision) && name.plain == "maxvit-t",
    stems: &[],
    within: &[],
    shows: |shapes| {
        let shown = shapes.contains_key("blocks.0.layers.0.layers.MBconv.layers.conv_a.0.weight");
        if shown { Likeness::Yes } else { Likeness::No }
    },
    build,
};

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, size, .. } = source;
    if size[0] != size[1] {
        return Err(ArchError::Unsupported(format!("torchvision's MaxViT takes square images, not {} x {}", size[0], size[1])));
    }
    let (mut net, input) = Layers::new(FAMILY.name, shapes, "stem.0.0.weight", *size, 1e-3)?;
    let mut x = net.conv("stem.0.0", input, 2, Groups::One, Padding::Half)?;
    x = net.norm("stem.0.1", x)?;
    x = net.act("stem.0.2", GELU, x)?;
    x = net.conv("stem.1.0", x, 1, Groups::One, Padding::Half)?;
    let depths = (0..shapes.len()).map(|block| count(shapes, &format!("blocks.{block}.layers.")));
    let depths: Vec<usize> = depths.take_while(|&layers| layers > 0).collect();
    for (block, &layers) in depths.iter().enumerate() {
        for layer in 0..layers {
            let at = format!("blocks.{block}.layers.{layer}.layers");
            x = bottleneck(&mut net, &format!("{at}.MBconv"), x, if layer == 0 { 2 } else { 1 })?;
            x = net.transpose(&format!("{at}.places"), x, &[0, 2, 3, 1])?;
            x = attention(&mut net, &format!("{at}.window_attention"), x, false)?;
            x = attention(&mut net, &format!("{at}.grid_attention"), x, true)?;
            x = net.transpose(&format!("{at}.map"), x, &[0, 3, 1, 2])?;
        }
    }
    x = net.pool("classifier.0", false, x)?;
    x = net.layer_norm("classifier.2", x, 1e-5)?;
    x = net.linear("classifier.3", x)?;
    x = net.act("classifier.4", Unary::Tanh, x)?;
    if shapes.keys().any(|name| name.starts_with("classifier.5.")) {
        x = net.linear("classifier.5", x)?;
    }
    net.finish(x, format!("MaxViT, stages of {} blocks, torchvision names", told(&depths)))
}

fn bottleneck(net: &mut Layers, at: &str, input: NodeId, stride: usize) -> Made {
    let mut shortcut = input;
    if stride == 2 {
        shortcut = net.avg_pool(&format!("{at}.proj.0"), input, 3, 2, 1, true)?;
        shortcut = net.conv(&format!("{at}.proj.1"), shortcut, 1, Groups::One, Padding::Valid)?;
    }
    let part = |name: &str| format!("{at}.layers.{name}");
    let mut x = net.norm(&part("pre_norm"), input)?;
    for (name, stride, groups) in [("conv_a", 1, Groups::One), ("conv_b", stride, Groups::Depthwise)] {
        x = net.conv(&part(&format!("{name}.0")), x, stride, groups, Padding::Half)?;
        x = net.norm(&part(&format!("{name}.1")), x)?;
        x = net.act(&part(&format!("{name}.2")), GELU, x)?;
    }
    x = net.excited([&part("squeeze_excitation.fc1"), &part("squeeze_excitation.fc2")], x, SILU, Unary::Sigmoid)?;
    x = net.conv(&part("conv_c"), x, 1, Groups::One, Padding::Valid)?;
    net.sum(&format!("{at}.add"), shortcut, x)
}

fn attention(net: &mut Layers, at: &str, input: NodeId, grid: bool) -> Made {
    let attn = format!("{at}.attn_layer.1");
    let normed = net.layer_norm(&format!("{at}.attn_layer.0"), input, 1e-5)?;
    let table = format!("{attn}.relative_position_bias_table");
    let Some(found) = net.look(&table) else { return Ok(input) };
    let &[rows, heads] = found.as_slice() else { return Ok(net.misfit(&table, &found, "[offsets, heads]", input)) };
    // A square window has (2 side - 1)^2 offsets.
    let side = rows.isqrt().div_ceil(2);
    if (2 * side).saturating_sub(1).checked_pow(2) != Some(rows) {
        return Ok(net.misfit(&table, &found, "as many offsets as a square window has", input));
    }
    let dims = net.dims(normed);
    let &[h, w, width] = dims.as_slice() else { return Ok(input) };
    let windows = Windows { side: [side; 2], grid };
    let apart = windows.apart(net, &attn, normed)?;
    let all = net.linear(&format!("{attn}.to_qkv"), apart)?;
    if !net.is_whole() {
        return Ok(input);
    }
    let index = offsets([side; 2]).into_iter().map(|offset| offset as f64).collect();
    let places = side * side;
    net.buffer(
        &format!("{attn}.relative_position_index"),
        ndarray::ArrayD::from_shape_vec(vec![places, places], index).unwrap_or_default(),
    );
    let bias = bias(net, &table, [side; 2], heads)?;
    let parts = net.split(&format!("{attn}.split"), all, 2, 3)?;
    let named = ["q", "k", "v"].into_iter().zip(parts);
    let parts = named.map(|(part, x)| net.heads(&format!("{attn}.{part}"), x, heads)).collect::<Result<Vec<_>, _>>()?;
    let &[q, k, v] = parts.as_slice() else { return Ok(input) };
    // The library divides by the root of all channels, not of a head's.
    let mixed = net.attend(&attn, [q, k, v], (width.max(1) as f64).powf(-0.5), Some(bias))?;
    let mixed = net.linear(&format!("{attn}.merge"), mixed)?;
    let mixed = windows.together(net, &attn, mixed, [h, w])?;
    let between = net.sum(&format!("{at}.add"), input, mixed)?;
    let x = net.layer_norm(&format!("{at}.mlp_layer.0"), between, 1e-5)?;
    let x = net.mlp([&format!("{at}.mlp_layer.1"), &format!("{at}.mlp_layer.3")], x, GELU)?;
    net.sum(&format!("{at}.add2"), between, x)
}
