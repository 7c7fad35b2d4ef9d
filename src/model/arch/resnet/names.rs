//! What timm calls a ResNet.

/// timm's networks of which the tensors show all but their name.
const SHOWN: [&str; 55] = [
    "ecaresnet26t",
    "ecaresnet50d",
    "ecaresnet50d_pruned",
    "ecaresnet50t",
    "ecaresnet101d",
    "ecaresnet101d_pruned",
    "ecaresnet200d",
    "ecaresnet269d",
    "ecaresnetlight",
    "ecaresnext26t_32x4d",
    "ecaresnext50t_32x4d",
    "resnet10t",
    "resnet14t",
    "resnet18d",
    "resnet26d",
    "resnet26t",
    "resnet34d",
    "resnet50c",
    "resnet50d",
    "resnet50s",
    "resnet50t",
    "resnet101c",
    "resnet101d",
    "resnet101s",
    "resnet152c",
    "resnet152d",
    "resnet152s",
    "resnet200d",
    "resnetrs50",
    "resnetrs101",
    "resnetrs152",
    "resnetrs200",
    "resnetrs270",
    "resnetrs350",
    "resnetrs420",
    "resnext50d_32x4d",
    "senet154",
    "seresnet18",
    "seresnet34",
    "seresnet50",
    "seresnet50t",
    "seresnet101",
    "seresnet152",
    "seresnet152d",
    "seresnet200d",
    "seresnet269d",
    "seresnext26d_32x4d",
    "seresnext26t_32x4d",
    "seresnext50_32x4d",
    "seresnext101_32x4d",
    "seresnext101_32x8d",
    "seresnext101_64x4d",
    "seresnext101d_32x8d",
    "test_resnet",
    "resnet50_gn",
];

/// timm's networks that take a mean where others stride.
pub(super) const MEANS: [&str; 7] =
    ["resnetaa34d", "resnetaa50", "resnetaa50d", "resnetaa101d", "seresnetaa50d", "seresnextaa101d_32x8d", "seresnextaa201d_32x8d"];

/// timm's networks that blur before they stride.
pub(super) const BLURS: [&str; 4] = ["resnetblur18", "resnetblur50", "resnetblur50d", "resnetblur101d"];

pub(super) fn all_of_timm() -> impl Iterator<Item = &'static str> {
    SHOWN.into_iter().chain(MEANS).chain(BLURS)
}

/// Whether what follows `resnet` names one of the plain networks (`50`, `50-32x4d`, `50-2`): `50d`, `50-gn` and their
/// like have other tensors or compute something else.
pub(super) fn is_plain(rest: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let (depth, width) = rest.split_once('-').unwrap_or((rest, "2"));
    let groups =
        width.strip_suffix('d').and_then(|width| width.split_once('x')).is_some_and(|(groups, width)| digits(groups) && digits(width));
    rest.is_empty() || (digits(depth) && (width == "2" || groups))
}
