//! Convolutional networks with one stem and one head, each in a file of its own, and what they have in common.

mod alexnet;
mod convmixer;
mod densenet;
mod dla;
mod dpn;
mod googlenet;
mod hgnet;
mod hrnet;
mod inception_resnet_v2;
mod inception_v3;
mod inception_v4;
mod mixed;
mod selecsls;
mod shufflenet;
mod squeezenet;
mod starnet;
mod visformer;
mod vovnet;
mod xception;

use super::config::Config;
use super::layers::{Groups, Layers, Padding};
use super::{ArchError, Family, Likeness, Shapes};
use crate::graph::{NodeId, Op, Role, Unary, Window};
use crate::model::{ChannelOrder, Preprocessing};

/// What becomes of images before they enter torchvision's `GoogLeNet` and Inception v3 as published: its usual normalisation, and then the network's
/// own (`transform_input`), which together are mean 0.5 and standard deviation 0.5.
#[expect(clippy::unnecessary_wraps, reason = "a family may have none")]
fn transformed() -> Option<Preprocessing> {
    let from = "torchvision's normalisation and `transform_input`, as in its published weights".into();
    Some(Preprocessing { mean: [0.5; 3], std: [0.5; 3], order: ChannelOrder::Rgb, from })
}

pub(super) static FAMILIES: &[&Family] = &[
    &alexnet::FAMILY,
    &squeezenet::FAMILY,
    &densenet::FAMILY,
    &googlenet::FAMILY,
    &inception_v3::FAMILY,
    &shufflenet::FAMILY,
    &inception_v4::FAMILY,
    &inception_resnet_v2::FAMILY,
    &xception::FAMILY,
    &xception::ALIGNED,
    &dla::FAMILY,
    &dpn::FAMILY,
    &vovnet::FAMILY,
    &hrnet::FAMILY,
    &selecsls::FAMILY,
    &hgnet::FAMILY,
    &starnet::FAMILY,
    &convmixer::FAMILY,
    &visformer::FAMILY,
];

type Made = Result<NodeId, ArchError>;

/// Tensors are a family's where they have one that no other has.
fn likeness(shapes: &Shapes, name: &str) -> Likeness {
    if shapes.contains_key(name) { Likeness::Yes } else { Likeness::No }
}

/// What a table says of the architecture that is named.
fn row<'t, T>(config: &Config, table: &'t [(&str, T)]) -> Option<&'t T> {
    let name = config.name.as_ref()?;
    table.iter().find(|(known, _)| name.is_one_of([*known])).map(|(_, value)| value)
}

/// Numbers that the tensors show too: of others, the configuration is that of another network.
fn listed(config: &Config, key: &str, found: &[usize]) -> Result<bool, ArchError> {
    match config.counts(key)? {
        Some(said) if said != found => Err(config.refused(key, &said.into())),
        said => Ok(said.is_some()),
    }
}

/// Refuses a name whose network has other parts than the tensors.
fn same(config: &Config, what: &str, said: &[usize], found: &[usize]) -> Result<(), ArchError> {
    if said == found {
        return Ok(());
    }
    let name = config.name.as_ref().map_or("", |name| name.plain.as_str());
    Err(ArchError::Unsupported(format!(
        "the architecture `{name}` has {what} {}, and the tensors show {}: one of the two is of another model",
        words(said),
        words(found)
    )))
}

/// For people: `2, 2, 6, 3`.
fn words(numbers: &[usize]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// timm's pooling before the head: whether it is the greatest value of each channel, not the mean.
fn max_pooling(config: &Config) -> Result<bool, ArchError> {
    match config.pooling("avg")? {
        "avg" => Ok(false),
        "max" => Ok(true),
        other => Err(config.refused("global_pool", &other.into())),
    }
}

/// Arguments of timm's networks that are built with one value alone.
fn plain_timm(config: &Config) -> Result<(), ArchError> {
    config.only("output_stride", 32)?;
    config.only("features_only", false)?;
    match config.text("norm_layer")?.filter(|norm| !["batchnorm", "batchnorm2d"].contains(&norm.to_lowercase().as_str())) {
        Some(norm) => Err(config.refused("norm_layer", &norm.into())),
        None => Ok(()),
    }
}

/// What differs from the plain network, for people: `, Silu, max pooling`.
fn told(act: Option<(Unary, Unary)>, max: bool) -> String {
    let act = act.filter(|(usual, act)| usual != act).map(|(_, act)| format!(", {act:?}"));
    let pool = max.then(|| ", max pooling".to_owned());
    [act, pool].into_iter().flatten().collect()
}

/// The linear layer behind the pooling, where the file has one.
fn head(net: &mut Layers, shapes: &Shapes, name: &str, x: NodeId) -> Made {
    let there = format!("{name}.");
    if shapes.range(there.clone()..).next().is_some_and(|(first, _)| first.starts_with(&there)) { net.linear(name, x) } else { Ok(x) }
}

/// Convolution, batch norm and activation, whose tensors have these names.
fn conv_norm(net: &mut Layers, [conv, norm]: [&str; 2], x: NodeId, how: Move, act: Option<Unary>) -> Made {
    let x = net.conv(conv, x, how.stride, how.groups, how.padding)?;
    let x = net.norm(norm, x)?;
    match act {
        Some(act) => net.act(&format!("{norm}.act"), act, x),
        None => Ok(x),
    }
}

/// The same as `name.conv` and `name.bn`.
fn unit(net: &mut Layers, name: &str, x: NodeId, how: Move, act: Option<Unary>) -> Made {
    conv_norm(net, [&format!("{name}.conv"), &format!("{name}.bn")], x, how, act)
}

/// How a convolution moves.
#[derive(Clone, Copy)]
struct Move {
    stride: usize,
    padding: Padding,
    groups: Groups,
}

impl Move {
    /// Padded by half its kernel.
    fn half(stride: usize) -> Self {
        Self { stride, padding: Padding::Half, groups: Groups::One }
    }

    /// Not padded.
    fn valid(stride: usize) -> Self {
        Self { stride, padding: Padding::Valid, groups: Groups::One }
    }

    fn depthwise(stride: usize) -> Self {
        Self { stride, padding: Padding::Half, groups: Groups::Depthwise }
    }

    fn grouped(stride: usize) -> Self {
        Self { stride, padding: Padding::Half, groups: Groups::Fitting }
    }
}

/// The greatest of every window, also of those that reach beyond the map below and on the right, as long as they begin in it: PyTorch's
/// `ceil_mode`.
fn ceil_pool(net: &mut Layers, name: &str, x: NodeId, kernel: usize, stride: usize) -> Made {
    let behind = net.size(x).map(|side| {
        let steps = side.saturating_sub(kernel).div_ceil(stride);
        // The last one may begin behind the map where the stride is longer than the kernel: it is left out.
        let steps = if steps * stride >= side { steps.saturating_sub(1) } else { steps };
        (steps * stride + kernel).saturating_sub(side)
    });
    let window = Window { kernel: [kernel; 2], stride: [stride; 2], pads: [0, 0, behind[0], behind[1]], dilation: [1; 2] };
    net.add(name, Op::MaxPool(window), &[x])
}

/// A map brought to `to`, each value the mean of the part of the map that it stands for (PyTorch's `AdaptiveAvgPool2d`): two products with
/// constant matrices.
pub(super) fn adaptive_mean(net: &mut Layers, name: &str, x: NodeId, to: [usize; 2]) -> Made {
    let [h, w] = net.size(x);
    if [h, w] == to || h == 0 || w == 0 || !net.is_whole() {
        return Ok(x);
    }
    let shares = |from: usize, to: usize, o: usize, i: usize| {
        let (first, end) = (o * from / to, ((o + 1) * from).div_ceil(to));
        if (first..end).contains(&i) { 1.0 / (end - first) as f32 } else { 0.0 }
    };
    let down: Vec<f32> = (0..to[0]).flat_map(|o| (0..h).map(move |i| shares(h, to[0], o, i))).collect();
    let across: Vec<f32> = (0..w).flat_map(|i| (0..to[1]).map(move |o| shares(w, to[1], o, i))).collect();
    let down = net.constant(&format!("{name}.down"), &[to[0], h], &down);
    let across = net.constant(&format!("{name}.across"), &[w, to[1]], &across);
    let rows = net.matmul(&format!("{name}.rows"), down, x)?;
    net.matmul(name, rows, across)
}

/// Learnt factor and summand of all channels (`scale` and `bias`, one number each), where the file has them.
fn learnt_affine(net: &mut Layers, name: &str, x: NodeId) -> Made {
    let [scale, bias] = [format!("{name}.scale"), format!("{name}.bias")];
    if !net.has(&scale) {
        return Ok(x);
    }
    let scale = net.tensor(&scale, &[1], Role::Scale);
    let bias = net.tensor(&bias, &[1], Role::Shift);
    let x = net.mul(&format!("{name}.mul"), x, scale)?;
    net.sum(name, x, bias)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::arch::Source;
    use crate::model::arch::config::Library;
    use crate::model::arch::tests as networks;

    #[test]
    fn a_table_is_looked_up_by_the_whole_name() {
        let table = [("dla46_c", 1), ("dla46x_c", 2)];
        let found = |said| row(&Config::of(None, said, false).expect("read"), &table).copied();
        assert_eq!(found(Some("timm/dla46x_c.in1k")), Some(2));
        assert_eq!((found(Some("timm/dla46")), found(None)), (None, None));
    }

    #[test]
    fn a_name_means_the_network_that_is_built() {
        for (name, wanted) in [
            ("timm/dla60_res2next.in1k", Some("dla")),
            ("timm/legacy_xception", Some("xception")),
            ("timm/xception41p", Some("xception-aligned")),
            ("torchvision/inception_v3", Some("inception-v3")),
            ("timm/densenetblur121d", Some("densenet")),
            ("torchvision/densenetblur121d", None),
            ("timm/ese_vovnet39b_evos", None),
            ("timm/squeezenet1_0", None),
        ] {
            let found = Family::named(name, Library::Unknown).ok().map(|family| family.name);
            assert_eq!(found, wanted, "{name}");
        }
    }

    #[test]
    fn another_networks_depth_is_refused() {
        let config = |fields| Config::of(Some(fields), None, false).expect("read");
        let said = serde_json::json!({"architecture": "dla34", "model_args": {"levels": [1, 2]}});
        assert_eq!(listed(&config(&said), "levels", &[1, 2]).ok(), Some(true));
        assert!(listed(&config(&said), "levels", &[1, 3]).is_err());
        assert!(same(&config(&said), "levels", &[1, 2], &[1, 2]).is_ok() && same(&config(&said), "levels", &[1, 2], &[2, 2]).is_err());
    }

    #[test]
    fn windows_that_reach_beyond_the_map_begin_in_it() {
        let shapes = networks::bottlenecks(1);
        for (side, wanted) in [(7, 3), (8, 4), (9, 4), (2, 1)] {
            let source = Source::plain(&shapes, [side; 2]);
            let (mut net, input) = Layers::new("test", &shapes, "conv1.weight", source.size, 1e-5).expect("begun");
            let pooled = ceil_pool(&mut net, "pool", input, 3, 2).expect("pooled");
            assert_eq!(net.size(pooled), [wanted; 2], "{side}");
        }
    }
}
