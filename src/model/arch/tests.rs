use super::*;
use crate::graph::{Op, Role};

fn take(shapes: &mut Shapes, name: &str) {
    assert!(shapes.remove(name).is_some(), "{name} is there");
}

fn norm(shapes: &mut Shapes, name: &str, width: usize) {
    for part in ["weight", "bias", "running_mean", "running_var"] {
        shapes.insert(format!("{name}.{part}"), vec![width]);
    }
}

/// A torchvision ResNet with one bottleneck per stage, `groups` wide.
pub(super) fn bottlenecks(groups: usize) -> Shapes {
    let mut shapes = Shapes::from([("conv1.weight".to_owned(), vec![8, 3, 7, 7])]);
    norm(&mut shapes, "bn1", 8);
    let mut from = 8;
    for (stage, width) in (1..).zip([8, 16, 32, 64]) {
        let at = format!("layer{stage}.0");
        shapes.insert(format!("{at}.conv1.weight"), vec![width, from, 1, 1]);
        shapes.insert(format!("{at}.conv2.weight"), vec![width, width / groups, 3, 3]);
        shapes.insert(format!("{at}.conv3.weight"), vec![4 * width, width, 1, 1]);
        shapes.insert(format!("{at}.downsample.0.weight"), vec![4 * width, from, 1, 1]);
        for (part, size) in [("bn1", width), ("bn2", width), ("bn3", 4 * width), ("downsample.1", 4 * width)] {
            norm(&mut shapes, &format!("{at}.{part}"), size);
        }
        from = 4 * width;
    }
    shapes.insert("fc.weight".into(), vec![10, 256]);
    shapes.insert("fc.bias".into(), vec![10]);
    shapes
}

#[test]
fn a_name_builds_the_network_it_describes() {
    let graph = build("resnet-cifar-20", 10, [32, 32]).expect("built");
    assert_eq!(graph.node(graph.output()).shape.at(1), [1, 10]);
    let trainable: usize = graph.slots().iter().filter(|s| s.role.trains()).map(|s| s.shape.iter().product::<usize>()).sum();
    // He et al., table 6: 0.27 million.
    assert_eq!(trainable, 269_722);
    let convolutions = graph.nodes().iter().filter(|node| matches!(node.op, Op::Conv2d { .. })).count();
    assert_eq!(convolutions, 19);
    let small = build("resnet-cifar-8:8,16,32", 5, [32, 32]).expect("built");
    assert_eq!(small.slots().len(), 7 * 5 + 2);
    assert!(small.find("layer2.0.conv1").is_some());
}

#[test]
fn names_that_describe_nothing_are_refused() {
    for name in
        ["resnet-cifar-", "resnet-cifar-21", "resnet-cifar-2", "resnet-cifar-8:", "resnet-cifar-8:64,32,16", "resnet-cifar-8:0,1,2", "vgg"]
    {
        assert!(matches!(build(name, 10, [32, 32]), Err(ArchError::Spec { .. })), "{name}");
    }
    assert!(build("resnet-cifar-20", 0, [32, 32]).is_err());
    assert!(matches!(Family::named("no-such-network", Library::Unknown), Err(ArchError::Unknown { .. })));
}

#[test]
fn families_are_known_by_their_tensors() {
    let cifar = resnet_cifar::shapes(&[4, 8, 16], 1, 3).expect("shapes");
    assert_eq!(choose(&cifar, None, Library::Unknown).expect("chosen"), &resnet_cifar::FAMILY);
    assert_eq!(choose(&bottlenecks(1), None, Library::Unknown).expect("chosen"), &resnet::FAMILY);
    assert_eq!(choose(&bottlenecks(1), Some(Hint::File("resnet50")), Library::Unknown).expect("chosen"), &resnet::FAMILY);
    assert!(matches!(choose(&bottlenecks(1), Some(Hint::File("no-such-network")), Library::Unknown), Err(ArchError::Unknown { .. })));
    assert!(matches!(choose(&Shapes::from([("x".into(), vec![1])]), None, Library::Unknown), Err(ArchError::NotRecognised { .. })));
    // Names of networks that compute something else with tensors of the same names.
    for other in ["resnext26ts", "resnet32ts", "resnet51q", "resnet50_clip.openai", "resnetv2_50d_evos"] {
        assert!(matches!(choose(&bottlenecks(1), Some(Hint::File(other)), Library::Unknown), Err(ArchError::Unknown { .. })), "{other}");
    }
    for plain in [
        "resnet",
        "resnet18.a1_in1k",
        "resnext50_32x4d",
        "resnext101_32x16d.fb_swsl",
        "wide_resnet50_2",
        "wide_resnet101_2.tv_in1k",
        "resnet50d",
        "resnetblur18",
    ] {
        assert_eq!(choose(&bottlenecks(1), Some(Hint::File(plain)), Library::Unknown).expect("chosen"), &resnet::FAMILY, "{plain}");
    }
    let mut small_stem = bottlenecks(1);
    small_stem.insert("conv1.weight".into(), vec![8, 3, 3, 3]);
    assert!(matches!(choose(&small_stem, None, Library::Unknown), Err(ArchError::Ambiguous { .. })));
}

#[test]
fn torchvision_bottlenecks_and_groups_are_read_off_the_shapes() {
    let built = build_from(&resnet::FAMILY, &Source::plain(&bottlenecks(4), [64, 64])).expect("built");
    assert!(built.description.starts_with("ResNeXt-14"), "{}", built.description);
    let graph = built.graph;
    let grouped = graph.find("layer2.0.conv2").map(|id| graph.node(id).clone()).expect("there");
    assert!(matches!(grouped.op, Op::Conv2d { groups: 4, window } if window.stride == [2, 2]));
    // 64 pixels: 32 after the stem, 16 after pooling, then 16, 8, 4, 2.
    let last = graph.find("layer4.0.relu").expect("there");
    assert_eq!(graph.node(last).shape.at(1), [1, 256, 2, 2]);
    let mut headless = bottlenecks(1);
    take(&mut headless, "fc.weight");
    take(&mut headless, "fc.bias");
    let graph = build_from(&resnet::FAMILY, &Source::plain(&headless, [64, 64])).expect("built").graph;
    assert_eq!(graph.node(graph.output()).shape.at(1), [1, 256]);
}

#[test]
fn every_missing_tensor_is_listed_at_once() {
    let mut shapes = bottlenecks(1);
    for name in ["bn1.running_var", "layer2.0.conv2.weight", "layer4.0.bn3.bias", "fc.bias"] {
        take(&mut shapes, name);
    }
    shapes.insert("layer2.0.conv2.kernel".into(), vec![1]);
    // A linear layer may lack its bias.
    match build_from(&resnet::FAMILY, &Source::plain(&shapes, [64, 64])).expect_err("tensors are missing") {
        ArchError::Tensors { missing, wrong, unused, .. } => {
            assert_eq!(unused, ["layer2.0.conv2.kernel"]);
            assert_eq!(missing, ["bn1.running_var", "layer2.0.conv2.weight", "layer4.0.bn3.bias"]);
            assert!(wrong.is_empty(), "{wrong:?}");
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_wrong_shape_is_named_with_both_shapes() {
    let mut shapes = bottlenecks(1);
    shapes.insert("layer3.0.bn1.bias".into(), vec![7]);
    let text = build_from(&resnet::FAMILY, &Source::plain(&shapes, [64, 64])).expect_err("misfit").to_string();
    assert!(text.contains("layer3.0.bn1.bias is [7], expected [32]"), "{text}");
    for bad in [vec![8, 5, 3, 3], vec![8], vec![8, 8, 0, 3], vec![0, 8, 3, 3]] {
        let mut shapes = bottlenecks(1);
        shapes.insert("layer1.0.conv2.weight".into(), bad.clone());
        assert!(matches!(build_from(&resnet::FAMILY, &Source::plain(&shapes, [64, 64])), Err(ArchError::Tensors { .. })), "{bad:?}");
    }
}

#[test]
fn running_statistics_do_not_train() {
    let graph = build("resnet-cifar-8:4,8,16", 3, [16, 16]).expect("built");
    let role = |name: &str| graph.slots().iter().find(|slot| slot.name == name).map(|slot| slot.role);
    assert_eq!(role("bn1.weight"), Some(Role::Scale));
    assert_eq!(role("bn1.bias"), Some(Role::Shift));
    assert_eq!(role("bn1.running_mean"), Some(Role::RunningMean));
    assert_eq!(role("bn1.running_var"), Some(Role::RunningVar));
    assert_eq!(role("linear.bias"), Some(Role::Bias));
}

#[test]
fn a_name_of_another_depth_is_refused() {
    let built = |description: &str| {
        let shapes = resnet_cifar::shapes(&[4, 8, 16], 1, 3).expect("shapes");
        let built = build_from(&resnet_cifar::FAMILY, &Source::plain(&shapes, [32, 32])).expect("built");
        Built { description: description.into(), ..built }
    };
    for (name, of, fits) in [
        ("resnet18", "ResNet-18, torchvision names", true),
        ("resnet50", "ResNet-18, torchvision names", false),
        ("wide_resnet50_2", "Wide ResNet-50, torchvision names", true),
        ("resnext50_32x4d", "ResNeXt-101, torchvision names", false),
        ("resnet18.a1_in1k", "ResNet-18, torchvision names, Silu", true),
        ("resnet20", "ResNet-20 (CIFAR)", true),
        ("resnet-cifar-20", "ResNet-8 (CIFAR)", false),
        ("resnet", "ResNet-18, Hugging Face names", true),
        ("efficientnet-lite0", "EfficientNet-Lite, 16 blocks", true),
    ] {
        let told = same_depth(name, "--arch", &built(of));
        assert_eq!(told.is_ok(), fits, "{name}: {told:?}");
    }
}

/// torchvision's VGG with one convolution before each of five poolings; `norms`: each with a batch norm.
fn vgg(norms: bool) -> Shapes {
    let mut shapes = Shapes::new();
    let (mut at, mut from) = (0, 3);
    for width in [4, 4, 4, 4, 8] {
        shapes.insert(format!("features.{at}.weight"), vec![width, from, 3, 3]);
        shapes.insert(format!("features.{at}.bias"), vec![width]);
        if norms {
            norm(&mut shapes, &format!("features.{}", at + 1), width);
        }
        // Activation and pooling have a number each.
        at += if norms { 4 } else { 3 };
        from = width;
    }
    for (layer, out, input) in [(0, 12, 8 * 49), (3, 10, 12), (6, 5, 10)] {
        shapes.insert(format!("classifier.{layer}.weight"), vec![out, input]);
        shapes.insert(format!("classifier.{layer}.bias"), vec![out]);
    }
    shapes
}

#[test]
fn a_vggs_poolings_are_read_off_the_numbers_of_its_layers() {
    let build = |shapes: &Shapes, side| build_from(&vgg::FAMILY, &Source::plain(shapes, [side; 2]));
    for norms in [false, true] {
        let shapes = vgg(norms);
        assert_eq!(choose(&shapes, None, Library::Unknown).expect("chosen"), &vgg::FAMILY);
        let built = build(&shapes, 224).expect("built");
        assert_eq!(built.description, "VGG-8, torchvision names");
        let poolings = built.graph.nodes().iter().filter(|node| matches!(node.op, Op::MaxPool(_))).count();
        assert_eq!((poolings, unused(&built, &shapes)), (5, Vec::<String>::new()));
        // Another size leaves other maps for the classifier, which are averaged.
        assert!(build(&shapes, 256).is_ok());
    }
    let mut further = vgg(false);
    let last = further.remove("features.12.weight").expect("the last convolution");
    further.insert("features.14.weight".into(), last);
    let told = build(&further, 224).expect_err("refused").to_string();
    assert!(told.contains("between `features.11` and `features.14`"), "{told}");
    // Every VGG of both libraries has 3x3 convolutions, biases and whole batch norms.
    for (name, shape, said) in [
        ("classifier.0.bias", None, "missing  classifier.0.bias"),
        ("features.0.weight", Some(vec![4, 3, 5, 5]), "features.0.weight is [4, 3, 5, 5], expected [out, in, 3, 3]"),
        ("features.1.running_mean", None, "missing  features.1.running_mean"),
    ] {
        let mut shapes = vgg(true);
        match shape {
            Some(shape) => drop(shapes.insert(name.to_owned(), shape)),
            None => take(&mut shapes, name),
        }
        let told = build(&shapes, 224).expect_err(name).to_string();
        assert!(told.contains(said), "{told}");
    }
    for (name, known) in
        [("vgg16", true), ("vgg16_bn.tv_in1k", true), ("VGG19", true), ("vgg", true), ("vgg16_gn", false), ("repvgg_a0", false)]
    {
        assert_eq!(Family::named(name, Library::Unknown).is_ok_and(|family| family == &vgg::FAMILY), known, "{name}");
    }
    assert!(same_depth("vgg16_bn", "--arch", &build(&vgg(true), 224).expect("built")).is_err());
}

/// What a user is told can be read is what can be read.
#[test]
fn every_family_is_in_the_documents() {
    let documents = include_str!("../../../docs/usage.md");
    for family in families() {
        let row = format!("| `{}` | {} |", family.name, family.about);
        assert!(documents.contains(&row), "docs/usage.md lacks the row {row}");
        assert_eq!(Family::named(family.name, Library::Unknown).expect("known by its own name"), family);
        assert!(family.within.iter().all(|other| families().any(|family| family.name == *other)), "{family:?}");
    }
}
