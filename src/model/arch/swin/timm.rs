//! Swin and Swin V2 under timm's names.

use serde_json::Value;

use super::{GELU, Making, ORIGINAL, Parts, Windows};
use crate::model::arch::config::{Config, Library};
use crate::model::arch::layers::count;
use crate::model::arch::{ArchError, Built, Family, Likeness, Source, staged};

pub(in crate::model::arch) static FAMILY: Family = Family {
    name: "swin-timm",
    about: "Swin and Swin V2 under timm's names",
    usual_size: [224, 224],
    preprocessing: || None,
    is_called: |name| name.may_be(Library::Timm) && staged::calls(name, &VARIANTS, |v| v.name),
    stems: &[],
    within: &[],
    shows: |shapes| {
        let has = |name: &str| shapes.contains_key(name);
        let block = ["relative_position_bias_table", "logit_scale"].iter().any(|part| has(&format!("layers.0.blocks.0.attn.{part}")));
        if block && has("patch_embed.proj.weight") { Likeness::Yes } else { Likeness::No }
    },
    build,
};

/// What timm calls by a name, as far as tensors do not show it, and what they must show.
struct Variant {
    name: &'static str,
    width: usize,
    depths: [usize; 4],
    windows: [usize; 4],
    /// Of the windows that V2 was trained with before, 0 where it was not.
    before: [usize; 4],
}

const fn variant(name: &'static str, width: usize, depth: usize, window: usize) -> Variant {
    Variant { name, width, depths: [2, 2, depth, 2], windows: [window; 4], before: [0; 4] }
}

/// All of timm's.
static VARIANTS: [Variant; 21] = [
    variant("swin_tiny_patch4_window7_224", 96, 6, 7),
    variant("swin_small_patch4_window7_224", 96, 18, 7),
    variant("swin_base_patch4_window7_224", 128, 18, 7),
    variant("swin_base_patch4_window12_384", 128, 18, 12),
    variant("swin_large_patch4_window7_224", 192, 18, 7),
    variant("swin_large_patch4_window12_384", 192, 18, 12),
    Variant { windows: [7, 7, 14, 7], ..variant("swin_s3_tiny_224", 96, 6, 7) },
    Variant { windows: [14, 14, 14, 7], ..variant("swin_s3_small_224", 96, 18, 7) },
    Variant { windows: [7, 7, 14, 7], ..variant("swin_s3_base_224", 96, 30, 7) },
    variant("swinv2_tiny_window8_256", 96, 6, 8),
    variant("swinv2_tiny_window16_256", 96, 6, 16),
    variant("swinv2_small_window8_256", 96, 18, 8),
    variant("swinv2_small_window16_256", 96, 18, 16),
    variant("swinv2_base_window8_256", 128, 18, 8),
    variant("swinv2_base_window16_256", 128, 18, 16),
    variant("swinv2_base_window12_192", 128, 18, 12),
    Variant { before: BEFORE, ..variant("swinv2_base_window12to16_192to256", 128, 18, 16) },
    Variant { before: BEFORE, ..variant("swinv2_base_window12to24_192to384", 128, 18, 24) },
    variant("swinv2_large_window12_192", 192, 18, 12),
    Variant { before: BEFORE, ..variant("swinv2_large_window12to16_192to256", 192, 18, 16) },
    Variant { before: BEFORE, ..variant("swinv2_large_window12to24_192to384", 192, 18, 24) },
];

const BEFORE: [usize; 4] = [12, 12, 12, 6];

static PARTS: Parts = ORIGINAL;

/// timm's `window_size`: a number, height and width, or either of these for every stage.
fn timm_windows(config: &Config, known: [usize; 4], stages: usize) -> Result<Vec<[usize; 2]>, ArchError> {
    let Some(value) = config.get("window_size") else { return Ok(known.iter().map(|&side| [side; 2]).collect()) };
    let refused = || config.refused("window_size", value);
    let number = |value: &Value| value.as_u64().and_then(|v| usize::try_from(v).ok()).filter(|v| (1..=1 << 12).contains(v));
    let one = |value: &Value| match value {
        Value::Array(two) => match two.as_slice() {
            [h, w] => Some([number(h)?, number(w)?]),
            _ => None,
        },
        one => number(one).map(|side| [side; 2]),
    };
    let all = match value {
        Value::Array(values) if values.len() != 2 || values.iter().any(Value::is_array) => {
            values.iter().map(one).collect::<Option<Vec<_>>>()
        }
        value => one(value).map(|window| vec![window; stages]),
    };
    all.filter(|all| all.len() == stages).ok_or_else(refused)
}

fn build(source: &Source) -> Result<Built, ArchError> {
    let Source { shapes, config, size } = source;
    let Some(known) = staged::entry(config, &VARIANTS, |v| v.name) else {
        return Err(ArchError::NeedsName {
            family: FAMILY.name,
            what: "the sizes of the windows".to_owned(),
            names: vec!["timm/swin_tiny_patch4_window7_224".to_owned(), "timm/swinv2_tiny_window8_256".to_owned()],
        });
    };
    let stages = count(shapes, "layers.");
    let windows = timm_windows(config, known.windows, stages)?;
    let before = config.counts("pretrained_window_sizes")?.unwrap_or_else(|| known.before.to_vec());
    let whole = config.flag("always_partition", false)?;
    let any_size = !config.flag("strict_img_size", true)? || config.flag("dynamic_img_size", false)?;
    let built_for = staged::pair(config, "img_size")?.unwrap_or(*size);
    config.shown(&["attn_drop_rate", "head_dim", "mlp_ratio", "proj_drop_rate", "weight_init"]);
    let (mut making, input) = Making::new(FAMILY.name, source, &PARTS, "patch_embed.proj.weight")?;
    let patch = making.patch("patch_embed.proj");
    check_size(*size, patch, built_for, any_size)?;
    let said = staged::pair(config, "patch_size")?.unwrap_or([4; 2]);
    if said != patch && making.net.has("patch_embed.proj.weight") {
        return Err(config.refused("patch_size", &said.to_vec().into()));
    }
    making.act = if making.v2 { config.act("act_layer")?.unwrap_or(GELU) } else { GELU };
    making.fill_first = false;
    let max = staged::takes_greatest(config)?;
    let mut x = making.stem("patch_embed.proj", "patch_embed.norm", input)?;
    for stage in 0..stages {
        if stage > 0 {
            x = making.merged(&format!("layers.{stage}.downsample"), x)?;
        }
        let target = windows.get(stage).copied().unwrap_or([1; 2]);
        let map = [0, 1].map(|i| (built_for[i] / patch[i]).div_ceil(1 << stage.min(32)));
        let before = before.get(stage).copied().unwrap_or(0);
        x = making.stage(&format!("layers.{stage}.blocks."), x, |block, _| {
            let halves = if block % 2 == 1 { target.map(|side| side / 2) } else { [0; 2] };
            if whole {
                return Ok(Windows { size: target, shift: halves, before });
            }
            let size = [0, 1].map(|i| target[i].min(map[i]));
            let shift = [0, 1].map(|i| if map[i] <= size[i] { 0 } else { halves[i] });
            Ok(Windows { size, shift, before })
        })?;
    }
    x = making.pooled("norm", 1e-5, max, x)?;
    x = staged::head(&mut making.net, shapes, "head.fc", x)?;
    if making.net.is_whole() && stages > 0 {
        let heads = [1, 2, 4, 8].map(|factor| known.width / 32 * factor);
        making.agrees(config, &known.depths, Some(&heads), known.width)?;
        if making.v2 != known.name.starts_with("swinv2") {
            let (name, told) = (known.name, making.told("timm"));
            return Err(ArchError::Unsupported(format!("`{name}` is of another network than the weights, a {told}")));
        }
    }
    let told = making.told("timm");
    let pool = if max { ", max pooling" } else { "" };
    making.net.finish(x, format!("{told}{pool}"))
}

/// timm takes images of the size that a network was built for, unless it is to take any.
fn check_size(size: [usize; 2], patch: [usize; 2], built_for: [usize; 2], any: bool) -> Result<(), ArchError> {
    let [h, w] = size;
    if size != built_for && !any {
        let [bh, bw] = built_for;
        return Err(ArchError::Unsupported(format!(
            "config.json: `model_args.img_size` makes it a network for images of {bh}x{bw}, and they are to be {h}x{w}"
        )));
    }
    if h % patch[0] != 0 || w % patch[1] != 0 {
        let [ph, pw] = patch;
        return Err(ArchError::Unsupported(format!("images of {h}x{w} cannot be cut into patches of {ph}x{pw}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn windows(said: &Value) -> Result<Vec<[usize; 2]>, String> {
        let config = json!({"architecture": "swin_s3_tiny_224", "model_args": {"window_size": said}, "pretrained_cfg": {}});
        let config = Config::of(Some(&config), None, false).map_err(|e| e.to_string())?;
        timm_windows(&config, [7, 7, 14, 7], 4).map_err(|e| e.to_string())
    }

    #[test]
    fn windows_are_read_as_timm_reads_them() {
        assert_eq!(windows(&Value::Null), Ok(vec![[7; 2], [7; 2], [14; 2], [7; 2]]));
        assert_eq!(windows(&json!(8)), Ok(vec![[8; 2]; 4]));
        assert_eq!(windows(&json!([7, 12])), Ok(vec![[7, 12]; 4]));
        assert_eq!(windows(&json!([7, [7, 12], 14, 7])), Ok(vec![[7; 2], [7, 12], [14; 2], [7; 2]]));
        for wrong in [json!(0), json!([7, 7, 7]), json!("7"), json!([[7, 7], [7, 7]]), json!(1 << 20), json!([7, 7, 7, 0])] {
            assert!(windows(&wrong).is_err(), "{wrong}");
        }
    }
}
