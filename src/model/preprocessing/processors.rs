//! Image processors of Hugging Face Transformers: what each does, and what it fills in for fields that a file leaves out.
//!
//! Those of classifiers and encoders whose work is a resize, a cut and a normalisation. The defaults are those of Transformers 5.24
//! (`tests/golden/preprocessing/make.py` holds them against it).

use crate::transform::geometry::Filter;

/// What a processor does beyond the fields that all have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Plain,
    /// Below 384 pixels a resize to `shortest_edge / crop_pct` and a cut; from there on a squash.
    ConvNext,
    /// A resize to `shortest_edge / crop_pct`.
    PoolFormer,
    /// A resize to `shortest_edge * 256 / 224`.
    Levit,
    /// A rescale by an offset, and a second division by the standard deviation.
    EfficientNet,
    /// Blue first, and no normalisation.
    MobileVit,
    /// The file names no processor: only what it says is known.
    Unnamed,
}

/// A size as fields give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    /// `height` and `width`.
    Sides([usize; 2]),
    /// `shortest_edge`.
    Shortest(usize),
}

/// One processor with its defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Processor {
    pub kind: Kind,
    pub size: Option<Size>,
    pub crop: Option<[usize; 2]>,
    pub center_crop: bool,
    /// Whether a size of one number is that of both sides, not of the shortest edge.
    pub square: bool,
    pub filter: Filter,
    pub mean: Option<[f64; 3]>,
    pub std: Option<[f64; 3]>,
    pub crop_pct: f64,
}

/// Of a file that names no processor.
pub(super) const UNNAMED: Processor = Processor {
    kind: Kind::Unnamed,
    size: None,
    crop: None,
    center_crop: false,
    square: true,
    filter: Filter::Bilinear,
    mean: None,
    std: None,
    crop_pct: 1.0,
};

type Numbers = ([f64; 3], [f64; 3]);
const HALF: Numbers = ([0.5; 3], [0.5; 3]);
const IMAGENET: Numbers = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);
const CLIP: Numbers = ([0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_58, 0.275_777_11]);

/// Whose only step before the normalisation is a squash.
const fn squash(side: usize, filter: Filter, (mean, std): Numbers) -> Processor {
    Processor { size: Some(Size::Sides([side; 2])), filter, mean: Some(mean), std: Some(std), ..UNNAMED }.of(Kind::Plain)
}

/// Which resizes the shortest edge and cuts out the middle.
const fn cut(edge: usize, crop: usize, filter: Filter, (mean, std): Numbers) -> Processor {
    let base = Processor { size: Some(Size::Shortest(edge)), square: false, filter, mean: Some(mean), std: Some(std), ..UNNAMED };
    Processor { crop: Some([crop; 2]), center_crop: true, ..base }.of(Kind::Plain)
}

impl Processor {
    const fn of(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }
}

/// The processor of a name such as `ViTImageProcessor`, `ViTImageProcessorFast` or `ViTFeatureExtractor`.
pub(super) fn named(name: &str) -> Option<Processor> {
    use Filter::{Bicubic, Bilinear};

    let plain = name.strip_suffix("Fast").or_else(|| name.strip_suffix("Pil")).unwrap_or(name);
    let stem = plain.strip_suffix("ImageProcessor").or_else(|| plain.strip_suffix("FeatureExtractor"))?;
    let cropping = |processor: Processor, crop: usize| Processor { crop: Some([crop; 2]), ..processor };
    Some(match stem {
        "ViT" => squash(224, Bilinear, HALF),
        "Beit" => cropping(squash(224, Bicubic, HALF), 224),
        "DeiT" => Processor { center_crop: true, ..cropping(squash(256, Bicubic, HALF), 224) },
        "Blip" => squash(384, Bicubic, CLIP),
        "Siglip" => Processor { square: false, ..squash(224, Bicubic, HALF) },
        "Pvt" => squash(224, Bicubic, IMAGENET),
        "Segformer" => squash(512, Bilinear, IMAGENET),
        "DINOv3ViT" => squash(224, Bilinear, IMAGENET),
        "Bit" | "CLIP" | "ChineseCLIP" => cut(224, 224, Bicubic, CLIP),
        "MobileNetV1" | "MobileNetV2" => cut(256, 224, Bilinear, HALF),
        "Levit" => cut(224, 224, Bicubic, IMAGENET).of(Kind::Levit),
        "PoolFormer" => Processor { crop_pct: 0.9, ..cut(224, 224, Bicubic, IMAGENET) }.of(Kind::PoolFormer),
        "MobileViT" => cut(224, 256, Bicubic, HALF).of(Kind::MobileVit),
        "EfficientNet" => cropping(squash(346, Bicubic, HALF), 289).of(Kind::EfficientNet),
        "ConvNext" => {
            Processor { crop: None, center_crop: false, crop_pct: 224.0 / 256.0, ..cut(384, 384, Bicubic, HALF) }.of(Kind::ConvNext)
        }
        _ => return None,
    })
}

/// The processor that Transformers takes for a `model_type` of `config.json`, where a file beside it names none.
pub(super) fn of_model(model_type: &str) -> Option<&'static str> {
    Some(match model_type {
        "vit" | "vit_mae" | "vit_msn" | "swin" | "swinv2" | "swiftformer" | "ijepa" | "dinat" => "ViTImageProcessor",
        "beit" | "data2vec-vision" => "BeitImageProcessor",
        "deit" => "DeiTImageProcessor",
        "blip" | "blip-2" => "BlipImageProcessor",
        "siglip" => "SiglipImageProcessor",
        "pvt" | "pvt_v2" => "PvtImageProcessor",
        "segformer" => "SegformerImageProcessor",
        "dinov3_vit" => "DINOv3ViTImageProcessor",
        "bit" | "dinov2" | "focalnet" | "hiera" => "BitImageProcessor",
        "clip" => "CLIPImageProcessor",
        "chinese_clip" => "ChineseCLIPImageProcessor",
        "mobilenet_v1" => "MobileNetV1ImageProcessor",
        "mobilenet_v2" => "MobileNetV2ImageProcessor",
        "levit" => "LevitImageProcessor",
        "poolformer" => "PoolFormerImageProcessor",
        "mobilevit" | "mobilevitv2" => "MobileViTImageProcessor",
        "efficientnet" => "EfficientNetImageProcessor",
        "convnext" | "convnextv2" | "cvt" | "regnet" | "resnet" => "ConvNextImageProcessor",
        _ => return None,
    })
}
