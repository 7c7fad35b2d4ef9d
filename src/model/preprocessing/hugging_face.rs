//! `preprocessor_config.json` of Hugging Face Transformers.

use serde_json::Value;

use super::processors::{self, Kind, Processor, Size};
use super::{Before, ChannelOrder, Normalisation, Stated, channels, geometry, sane, side};
use crate::transform::geometry::{Filter, Geometry, Resize, Rounding};

/// Fields that this file reads.
const HONOURED: [&str; 17] = [
    "crop_size",
    "default_to_square",
    "do_center_crop",
    "do_normalize",
    "do_pad",
    "do_rescale",
    "do_resize",
    "feature_extractor_type",
    "image_mean",
    "image_processor_type",
    "image_std",
    "pad_size",
    "resample",
    "rescale_factor",
    "size",
    // Read by some processors only.
    "crop_pct",
    "do_flip_channel_order",
];

/// Fields that change no number of an image that has three channels: names, versions, the shape of what is returned, labels.
const HARMLESS: [&str; 21] = [
    "_commit_hash",
    "_from_auto",
    "_name_or_path",
    "_processor_class",
    "_valid_kwargs_names",
    "_valid_processor_keys",
    "backend",
    "data_format",
    "device",
    "disable_grouping",
    "do_convert_rgb",
    "do_reduce_labels",
    "image_seq_length",
    "input_data_format",
    "name_or_path",
    "num_channels",
    "processor_class",
    "reduce_labels",
    "return_tensors",
    "transformers_version",
    "use_fast",
];

/// What a configuration says; `model_type` is that of `config.json` beside it.
pub(super) fn read(config: &Value, model_type: Option<&str>) -> Stated {
    let text = |key: &str| config.get(key).and_then(Value::as_str);
    let stated = text("image_processor_type").or_else(|| text("feature_extractor_type"));
    let name = stated.or_else(|| model_type.and_then(processors::of_model));
    match name.map(|name| (name, processors::named(name))) {
        Some((name, Some(processor))) => File { config, processor, name }.read(),
        Some((name, None)) => unknown(name),
        None => {
            let file = File { config, processor: processors::UNNAMED, name: "a file without `image_processor_type`" };
            Stated { note: " (it names no image processor)".into(), ..file.read() }
        }
    }
}

/// A processor whose work is not known.
fn unknown(name: &str) -> Stated {
    let reason = || format!("`image_processor_type` is {name}: what it does to images is not known here");
    Stated {
        normalisation: Err(reason()),
        order: Err(reason()),
        size: Err(reason()),
        geometry: Err(reason()),
        fields: Err(reason()),
        note: String::new(),
    }
}

/// One file, and the processor that it is for.
struct File<'a> {
    config: &'a Value,
    processor: Processor,
    name: &'a str,
}

impl File<'_> {
    fn read(&self) -> Stated {
        Stated {
            normalisation: self.normalisation(),
            order: self.order(),
            size: self.size(),
            geometry: self.geometry(),
            fields: self.fields(),
            note: String::new(),
        }
    }

    /// A field that is there and not null.
    fn field(&self, key: &str) -> Option<&Value> {
        self.config.get(key).filter(|value| !value.is_null())
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool, String> {
        match self.field(key) {
            None => Ok(default),
            Some(value) => value.as_bool().ok_or_else(|| format!("`{key}` is {value}: it must be true or false")),
        }
    }

    fn number(&self, key: &str, default: f64) -> Result<f64, String> {
        let value = match self.field(key) {
            None => Some(default),
            Some(value) => value.as_f64(),
        };
        value.filter(|v| *v > 0.0 && v.is_finite()).ok_or_else(|| format!("`{key}` must be a number above 0"))
    }

    /// Whether the processor reads a field that only some read.
    fn reads(&self, key: &str) -> bool {
        let kind = self.processor.kind;
        match key {
            "crop_pct" => matches!(kind, Kind::ConvNext | Kind::PoolFormer),
            "do_flip_channel_order" => matches!(kind, Kind::MobileVit | Kind::Unnamed),
            "include_top" | "rescale_offset" => kind == Kind::EfficientNet,
            _ => HONOURED.contains(&key) || HARMLESS.contains(&key),
        }
    }

    /// Every field is read, known to change nothing, or switched off.
    fn fields(&self) -> Result<(), String> {
        let all = self.config.as_object().into_iter().flatten();
        let off = |value: &Value| value.is_null() || *value == Value::Bool(false);
        match all.into_iter().find(|(key, value)| !self.reads(key) && !off(value)) {
            None => Ok(()),
            Some((key, value)) => Err(format!("`{key}` is {value}: what that does to images is not known here, for {}", self.name)),
        }
    }

    fn order(&self) -> Result<Option<ChannelOrder>, String> {
        if !self.reads("do_flip_channel_order") {
            return Ok(None);
        }
        let flips = self.flag("do_flip_channel_order", self.processor.kind == Kind::MobileVit)?;
        Ok(Some(if flips { ChannelOrder::Bgr } else { ChannelOrder::Rgb }))
    }

    /// What becomes of a value from 0 to 255, step by step, as `scale * value + shift`; and from that, of one from 0 to 1.
    fn normalisation(&self) -> Result<Option<Normalisation>, String> {
        let Processor { kind, mean, std, .. } = self.processor;
        let (stated_mean, stated_std) = (channels(self.config, "image_mean")?, channels(self.config, "image_std")?);
        if kind == Kind::Unnamed && stated_mean.is_some() != stated_std.is_some() {
            return Err("one of `image_mean` and `image_std` is there without the other".into());
        }
        let numbers = stated_mean.or(mean).zip(stated_std.or(std));
        let normalises = self.flag("do_normalize", kind != Kind::Unnamed || numbers.is_some())? && kind != Kind::MobileVit;
        let says = ["do_normalize", "do_rescale", "rescale_factor"].iter().any(|key| self.field(key).is_some());
        if kind == Kind::Unnamed && numbers.is_none() && !says {
            return Ok(None);
        }
        let mut step = Affine { scale: [1.0; 3], shift: [0.0; 3] };
        let factor = self.number("rescale_factor", 1.0 / 255.0)?;
        let rescales = self.flag("do_rescale", true)?;
        // 1 / 255 was written to some digits.
        let factor = if (255.0 * factor - 1.0).abs() < 1e-4 { 1.0 / 255.0 } else { factor };
        if rescales {
            step.divide([1.0 / factor; 3]);
            if kind == Kind::EfficientNet && self.flag("rescale_offset", false)? {
                step.subtract([1.0; 3]);
            }
        }
        let again = kind == Kind::EfficientNet && self.flag("include_top", true)?;
        if normalises || again {
            let (mean, std) = numbers.ok_or("`do_normalize` is true, and `image_mean` and `image_std` are missing")?;
            if std.iter().any(|v| *v <= 0.0) {
                return Err(format!("`image_std` is {std:?}: it must be above 0"));
            }
            if normalises {
                step.subtract(mean);
                step.divide(std);
            }
            if again {
                step.divide(std);
            }
        }
        let stated = |key: &str| self.field(key).map(|value| format!("`{key}` {value}"));
        let told: Vec<String> = ["image_mean", "image_std", "do_rescale", "rescale_factor"].into_iter().filter_map(stated).collect();
        sane(step.of_unit(), &told.join(", ")).map(Some)
    }

    /// Height and width that images end up with.
    fn size(&self) -> Result<Option<[usize; 2]>, String> {
        if self.cuts()? {
            return self.crop().map(Some);
        }
        if !self.flag("do_resize", true)? && self.field("size").is_none() {
            return Ok(None);
        }
        Ok(self.sides()?.map(|size| match size {
            Size::Sides(sides) => sides,
            Size::Shortest(edge) => [edge; 2],
        }))
    }

    /// Whether the middle is cut out.
    fn cuts(&self) -> Result<bool, String> {
        let stated = self.processor.kind == Kind::Unnamed && self.field("crop_size").is_some();
        self.flag("do_center_crop", self.processor.center_crop || stated)
    }

    fn crop(&self) -> Result<[usize; 2], String> {
        let stated = self.field("crop_size").map(|value| sides(value, "crop_size", true)).transpose()?;
        match stated.or(self.processor.crop.map(Size::Sides)) {
            Some(Size::Sides(sides)) => Ok(sides),
            Some(Size::Shortest(_)) => Err("`crop_size` is a shortest edge: which part is cut out is not known".into()),
            None => Err("`do_center_crop` is true, and `crop_size` is missing".into()),
        }
    }

    /// The size to resize to.
    fn sides(&self) -> Result<Option<Size>, String> {
        let square = self.flag("default_to_square", self.processor.square)?;
        let stated = self.field("size").map(|value| sides(value, "size", square)).transpose()?;
        Ok(stated.or(self.processor.size))
    }

    fn filter(&self) -> Result<Filter, String> {
        Ok(match self.field("resample") {
            None => self.processor.filter,
            Some(value) => match value.as_u64() {
                Some(0) => Filter::Nearest,
                Some(1) => Filter::Lanczos,
                Some(2) => Filter::Bilinear,
                Some(3) => Filter::Bicubic,
                Some(4) => Filter::Box,
                Some(5) => Filter::Hamming,
                _ => return Err(format!("`resample` is {value}: Pillow's filters are 0 to 5")),
            },
        })
    }

    fn geometry(&self) -> Result<Option<(Geometry, Before)>, String> {
        let Processor { kind, .. } = self.processor;
        let says = ["size", "crop_size", "do_resize", "do_center_crop", "resample"].iter().any(|key| self.field(key).is_some());
        if kind == Kind::Unnamed && !says {
            return Ok(None);
        }
        let how = |resize: Resize| Ok::<_, String>(geometry(resize, self.filter()?, Rounding::Transformers));
        let cut = if self.cuts()? { Some(self.crop()?) } else { None };
        let resizes = self.flag("do_resize", true)?;
        let size = if resizes { self.sides()? } else { None };
        let (how, before, ends) = match (size, cut) {
            (None, Some(cut)) if !resizes => (how(Resize::CropOnly)?, Before::Same, cut),
            (None, None) if !resizes => (how(Resize::Exact)?, Before::Same, self.size()?.unwrap_or_default()),
            (None, _) => return Err("`size` is missing: what images are resized to is not known".into()),
            (Some(size), cut) => self.resized(size, cut)?,
        };
        self.pads(ends)?;
        Ok(Some((how, before)))
    }

    /// The resize, what is resized to, and the size that images end up with.
    fn resized(&self, size: Size, cut: Option<[usize; 2]>) -> Result<(Geometry, Before, [usize; 2]), String> {
        let Processor { kind, crop_pct, .. } = self.processor;
        let how = |resize: Resize| Ok::<_, String>(geometry(resize, self.filter()?, Rounding::Transformers));
        let share = self.number("crop_pct", crop_pct)?;
        let edge = match (kind, size) {
            (Kind::ConvNext, Size::Shortest(edge)) => {
                if let Some(cut) = cut.filter(|cut| *cut != [edge; 2]) {
                    return Err(format!("`crop_size` is {cut:?} and `size` {edge}: {} cuts twice", self.name));
                }
                if edge >= 384 {
                    return Ok((how(Resize::Squash)?, Before::Same, [edge; 2]));
                }
                let before = (edge as f64 / share) as usize;
                return Ok((how(Resize::ShortestEdge)?, Before::Pixels([before; 2], [edge; 2]), [edge; 2]));
            }
            (Kind::ConvNext, Size::Sides(_)) => return Err(format!("`size` has no `shortest_edge`, which {} needs", self.name)),
            (Kind::Levit, Size::Shortest(edge)) => Some(((256.0 / 224.0) * edge as f64) as usize),
            (Kind::PoolFormer, Size::Shortest(edge)) => Some((edge as f64 / share) as usize),
            (Kind::PoolFormer, Size::Sides([h, w])) if h == w => Some((h as f64 / share) as usize),
            (Kind::PoolFormer, Size::Sides(_)) => return Err("`size` is not square: what `crop_pct` makes of it is not known".into()),
            (_, Size::Shortest(edge)) => Some(edge),
            (_, Size::Sides(_)) => None,
        };
        match (edge, size, cut) {
            (Some(edge), _, Some(cut)) => Ok((how(Resize::ShortestEdge)?, Before::Pixels([edge; 2], cut), cut)),
            (Some(_), ..) => {
                Err("`size` is a shortest edge and the middle is not cut out (`do_center_crop`): images keep their own shape, \
                                  and the network takes one size"
                    .into())
            }
            (None, Size::Sides(sides), Some(cut)) => Ok((how(Resize::Squash)?, Before::Pixels(sides, cut), cut)),
            (None, Size::Sides(sides), None) => Ok((how(Resize::Squash)?, Before::Same, sides)),
            (None, Size::Shortest(_), _) => Err("`size` is not understood".into()),
        }
    }

    /// Padding changes nothing where images end up with one size that it does not exceed.
    fn pads(&self, ends: [usize; 2]) -> Result<(), String> {
        if !self.flag("do_pad", false)? {
            return Ok(());
        }
        match self.field("pad_size") {
            None => Ok(()),
            Some(value) => match sides(value, "pad_size", true)? {
                Size::Sides(sides) if sides == ends => Ok(()),
                _ => Err(format!("`do_pad` is true and `pad_size` {value}: images that are padded are not made here")),
            },
        }
    }
}

/// A size in any of its forms. One number is that of both sides where `square`, else that of the shortest edge.
fn sides(value: &Value, key: &str, square: bool) -> Result<Size, String> {
    let named = |name: &str| value.get(name).filter(|inner| !inner.is_null());
    let told = |reason: String| format!("`{key}`: {reason}");
    if let Some(fields) = value.as_object() {
        let known = ["height", "width", "shortest_edge"];
        if let Some((other, inner)) = fields.iter().find(|(name, inner)| !known.contains(&name.as_str()) && !inner.is_null()) {
            return Err(format!("`{key}` has `{other}`: {inner}, so that images keep their own shape; the network takes one size"));
        }
    }
    match (named("height"), named("width"), named("shortest_edge")) {
        (Some(h), Some(w), None) => Ok(Size::Sides([side(h).map_err(told)?, side(w).map_err(told)?])),
        (None, None, Some(edge)) => Ok(Size::Shortest(side(edge).map_err(told)?)),
        _ => match value {
            Value::Array(parts) => match parts.as_slice() {
                [h, w] => Ok(Size::Sides([side(h).map_err(told)?, side(w).map_err(told)?])),
                _ => Err(format!("`{key}` is {value}: it must be height and width")),
            },
            Value::Object(_) => Err(format!("`{key}` is {value}: it must have `height` and `width`, or `shortest_edge`")),
            one if square => Ok(Size::Sides([side(one).map_err(told)?; 2])),
            one => Ok(Size::Shortest(side(one).map_err(told)?)),
        },
    }
}

/// What steps make of a value: `scale * value + shift`.
struct Affine {
    scale: [f64; 3],
    shift: [f64; 3],
}

impl Affine {
    fn subtract(&mut self, by: [f64; 3]) {
        self.shift.iter_mut().zip(by).for_each(|(shift, by)| *shift -= by);
    }

    fn divide(&mut self, by: [f64; 3]) {
        self.scale.iter_mut().zip(by).for_each(|(scale, by)| *scale /= by);
        self.shift.iter_mut().zip(by).for_each(|(shift, by)| *shift /= by);
    }

    /// The same as mean and standard deviation of values from 0 to 1.
    fn of_unit(&self) -> ([f64; 3], [f64; 3]) {
        // Exact zeros stay positive.
        let mean = std::array::from_fn(|i| 0.0 - self.shift[i] / self.scale[i] / 255.0);
        (mean, self.scale.map(|scale| 1.0 / scale / 255.0))
    }
}
