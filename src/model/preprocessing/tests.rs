use serde_json::json;

use super::*;
use crate::model::Layout;

fn beside_a_model(files: &[(&str, &str)], metadata: &[(&str, &str)]) -> Result<Found, PreprocessingError> {
    told(files, metadata, &InputOverride::default())
}

fn told(files: &[(&str, &str)], metadata: &[(&str, &str)], user: &InputOverride) -> Result<Found, PreprocessingError> {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    let metadata = metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    let at = if files.iter().any(|(name, _)| name.starts_with("onnx/")) { "onnx/model.onnx" } else { "model.safetensors" };
    find(&Configuration::read(&folder.path().join(at)).expect("read"), &metadata, user)
}

/// What a processor's configuration is refused for.
fn refused(config: &Value) -> String {
    beside_a_model(&[("preprocessor_config.json", &config.to_string())], &[]).expect_err("refused").to_string()
}

#[test]
fn hugging_face_comes_before_timm_and_metadata() {
    let hf = r#"{"image_mean":[0.5,0.5,0.5],"image_std":[0.2,0.2,0.2],"size":{"shortest_edge":256},"crop_size":224}"#;
    let timm = r#"{"pretrained_cfg":{"mean":[0.1,0.1,0.1],"std":[0.3,0.3,0.3],"input_size":[3,288,256]}}"#;
    let own = [("heirloom.mean", "[0.4,0.4,0.4]"), ("heirloom.std", "[1,1,1]"), ("heirloom.size", "[32,48]")];
    let all = beside_a_model(&[("preprocessor_config.json", hf), ("config.json", timm)], &own).expect("read");
    assert_eq!((all.preprocessing.map(|p| p.mean), all.size), (Some([0.5; 3]), Some([224, 224])));
    assert_eq!(all.geometry.map(|g| g.before), Some(Before::Pixels([256, 256], [224, 224])));
    let two = beside_a_model(&[("config.json", timm)], &own).expect("read");
    assert_eq!((two.preprocessing.map(|p| p.std), two.size), (Some([0.3; 3]), Some([288, 256])));
    let one = beside_a_model(&[], &own).expect("read");
    assert_eq!((one.preprocessing.map(|p| p.mean), one.size), (Some([0.4; 3]), Some([32, 48])));
    assert_eq!(beside_a_model(&[], &[]).expect("read"), Found::default());
}

#[test]
fn a_processor_is_found_where_the_hub_has_it() {
    let with = |mean: f64| json!({"image_processor_type": "ViTImageProcessor", "image_mean": mean, "image_std": 0.5}).to_string();
    let mean = |files: &[(&str, &str)]| beside_a_model(files, &[]).expect("read").preprocessing.map(|p| (p.mean[0], p.from));
    let nested = format!("{{\"image_processor\": {}, \"processor_class\": \"X\"}}", with(0.25));
    let plain = with(0.5);
    // Nested in the processor's configuration comes first, as in Transformers.
    assert_eq!(
        mean(&[("processor_config.json", &nested), ("preprocessor_config.json", &plain)]),
        Some((0.25, "processor_config.json".into()))
    );
    // Under the name of earlier releases, and without one.
    for whole in [format!("{{\"feature_extractor\": {}}}", with(0.25)), with(0.25)] {
        let found = mean(&[("processor_config.json", &whole), ("preprocessor_config.json", &plain)]);
        assert_eq!(found, Some((0.25, "processor_config.json".into())), "{whole}");
    }
    let (other, expected) = (r#"{"processor_class": "X"}"#, Some((0.5, "preprocessor_config.json".into())));
    assert_eq!(mean(&[("processor_config.json", other), ("preprocessor_config.json", &plain)]), expected);
    // transformers.js: the network in `onnx/`, all else one folder up; what lies beside the network comes first.
    assert_eq!(mean(&[("onnx/model.onnx", ""), ("preprocessor_config.json", &plain)]), expected);
    let quarter = with(0.25);
    let both = [("onnx/preprocessor_config.json", quarter.as_str()), ("preprocessor_config.json", &plain)];
    assert_eq!(mean(&both), Some((0.25, "preprocessor_config.json".into())));
}

#[test]
fn a_rescale_factor_other_than_1_over_255_is_undone() {
    let hf = r#"{"image_mean":[127.0,127.0,127.0],"image_std":[128.0,128.0,128.0],"do_rescale":false}"#;
    let found = beside_a_model(&[("preprocessor_config.json", hf)], &[]).expect("read").preprocessing.expect("stated");
    assert_eq!((found.mean, found.std), ([127.0 / 255.0; 3], [128.0 / 255.0; 3]));
    // Written to some digits: the stated numbers are not blurred.
    let hf = r#"{"image_mean":[0.485,0.456,0.406],"image_std":[0.229,0.224,0.225],"rescale_factor":0.00392156862745098}"#;
    let found = beside_a_model(&[("preprocessor_config.json", hf)], &[]).expect("read").preprocessing.expect("stated");
    assert_eq!((found.mean, found.std), ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]));
}

#[test]
fn senseless_values_are_refused() {
    for text in [
        r#"{"image_mean":[0,0,0],"image_std":[0,1,1]}"#,
        r#"{"image_mean":"x","image_std":[1,1,1]}"#,
        r#"{"image_mean":[0.5,0.5,0.5]}"#,
        r#"{"size":{"height":-1,"width":3}}"#,
        r#"{"size":{"height":3}}"#,
        r#"{"size":99999}"#,
        r#"{"size":[1,2,3]}"#,
        r#"{"rescale_factor":0}"#,
        r#"{"do_resize":3}"#,
        r#"{"resample":6,"size":8}"#,
        "{",
        "[]",
    ] {
        let found = beside_a_model(&[("preprocessor_config.json", text)], &[]);
        assert!(found.is_err(), "{text}: {found:?}");
    }
    for cfg in [
        json!({"crop_pct": -1}),
        json!({"crop_pct": "x"}),
        json!({"interpolation": "random"}),
        json!({"crop_mode": "corner"}),
        json!({"mean": [123.675, 116.28, 103.53]}),
        json!({"input_size": "x"}),
        json!({"anything": 1}),
    ] {
        let text = json!({"architecture": "resnet18", "pretrained_cfg": cfg}).to_string();
        assert!(beside_a_model(&[("config.json", &text)], &[]).is_err(), "{text}");
    }
    assert!(beside_a_model(&[], &[("heirloom.mean", "[1,"), ("heirloom.std", "[1,1,1]")]).is_err());
    for (key, value) in [("heirloom.channel_order", "gbr"), ("heirloom.geometry", "{}")] {
        assert!(beside_a_model(&[], &[("heirloom.mean", "[0,0,0]"), ("heirloom.std", "[1,1,1]"), (key, value)]).is_err(), "{key}");
    }
}

#[test]
fn what_changes_images_and_is_not_made_here_is_refused_by_name() {
    let vit = |more: Value| {
        let mut config = json!({"image_processor_type": "ViTImageProcessor"});
        config.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        config
    };
    for (config, wanted) in [
        (json!({"image_processor_type": "PerceiverImageProcessor"}), "PerceiverImageProcessor"),
        (json!({"feature_extractor_type": "ImageGPTFeatureExtractor"}), "ImageGPTFeatureExtractor"),
        (vit(json!({"do_grayscale": true})), "do_grayscale"),
        (vit(json!({"size_divisor": 32})), "size_divisor"),
        (vit(json!({"do_flip_channel_order": true})), "do_flip_channel_order"),
        (vit(json!({"crop_pct": 0.9})), "crop_pct"),
        (vit(json!({"include_top": true})), "include_top"),
        (vit(json!({"auto_map": {"AutoImageProcessor": "own.Code"}})), "auto_map"),
        (vit(json!({"do_pad": true, "pad_size": 640})), "pad_size"),
        (vit(json!({"size": {"longest_edge": 224}})), "longest_edge"),
        (vit(json!({"size": {"shortest_edge": 224, "longest_edge": 1333}})), "longest_edge"),
        (vit(json!({"size": {"max_height": 224, "max_width": 224}})), "max_height"),
        (vit(json!({"size": {"shortest_edge": 224}})), "do_center_crop"),
        (vit(json!({"do_center_crop": true})), "crop_size"),
        (vit(json!({"do_center_crop": true, "crop_size": {"shortest_edge": 9}})), "crop_size"),
        (vit(json!({"image_mean": [123.675, 116.28, 103.53], "image_std": [58.4, 57.1, 57.4]})), "image_mean"),
        (vit(json!({"do_rescale": false})), "do_rescale"),
        (json!({"image_processor_type": "ConvNextImageProcessor", "size": {"height": 9, "width": 9}}), "shortest_edge"),
        (json!({"image_processor_type": "PoolFormerImageProcessor", "size": {"height": 9, "width": 8}}), "crop_pct"),
    ] {
        let text = refused(&config);
        assert!(text.contains(wanted) && text.starts_with("preprocessor_config.json: "), "{config}: {text}");
    }
    // Switched off, empty, or of no consequence.
    let harmless = vit(json!({
        "do_grayscale": false, "crop_pct": null, "do_pad": true, "pad_size": 224, "do_convert_rgb": true, "do_reduce_labels": true,
        "_valid_processor_keys": ["images"], "size": {"height": 224, "width": 224, "longest_edge": null}
    }));
    beside_a_model(&[("preprocessor_config.json", &harmless.to_string())], &[]).expect("read");
}

#[test]
fn a_large_convnext_squashes() {
    // From 384 pixels on, whatever `crop_pct` says: too large for a golden file.
    for (edge, resize, before) in [(383, Resize::ShortestEdge, Some([437, 437])), (384, Resize::Squash, None)] {
        let config = json!({"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": edge}}).to_string();
        let found = beside_a_model(&[("preprocessor_config.json", &config)], &[]).expect("read");
        let (geometry, _) = settle_geometry(&found, &InputOverride::default(), [edge; 2]);
        assert_eq!((geometry.resize, geometry.before_crop, found.size), (resize, before, Some([edge; 2])));
    }
}

#[test]
fn what_the_policy_says_is_not_asked_of_a_file() {
    let config = json!({
        "image_processor_type": "PerceiverImageProcessor", "image_mean": [123.0, 116.0, 103.0], "image_std": [58.0, 57.0, 57.0], "do_grayscale": true
    });
    let files = [("preprocessor_config.json", config.to_string())];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let numbers = InputOverride { mean: Some([0.5; 3]), std: Some([0.5; 3]), size: Some([32, 32]), ..InputOverride::default() };
    assert!(told(&files, &[], &numbers).is_err(), "the geometry is open");
    let geometry = Geometry { resize: Resize::Squash, ..Geometry::default() };
    let all = InputOverride { geometry: Some(geometry), ..numbers };
    let found = told(&files, &[], &all).expect("all is said");
    assert!(settle(&found, &all).expect("settled").mean.iter().all(|mean| (mean - 0.5).abs() < 1e-12));
    assert_eq!(settle_geometry(&found, &all, [32, 32]), (geometry, "the policy's `input`".into()));
}

#[test]
fn the_policy_wins_and_assumptions_are_marked() {
    let nothing = Found::default();
    assert!(settle(&nothing, &InputOverride::default()).expect("settled").from.starts_with("assumed"));
    let user = InputOverride { mean: Some([0.0; 3]), ..InputOverride::default() };
    let settled = settle(&nothing, &user).expect("settled");
    assert_eq!(Some(settled.mean), user.mean);
    assert!(settled.from.contains("std: assumed"));
    // Where both speak and differ, the policy's word counts and the other is told.
    let file = Preprocessing { mean: [0.5; 3], std: [0.25; 3], order: ChannelOrder::Bgr, from: "config.json".into() };
    let file = Found { preprocessing: Some(file), ..nothing.clone() };
    let settled = settle(&file, &user).expect("settled");
    assert_eq!((Some(settled.mean), settled.order), (user.mean, ChannelOrder::Bgr));
    assert!(
        settled.from.ends_with("the checkpoint says otherwise: mean [0.5, 0.5, 0.5] and std [0.25, 0.25, 0.25] (config.json)"),
        "{settled:?}"
    );
    assert_eq!(overruled(&file, &user, [32; 2]), [Overruled::Normalisation]);
    assert_eq!(overruled(&nothing, &user, [32; 2]), [], "what is assumed is no word of the checkpoint");
    let same = InputOverride { mean: Some([0.5; 3]), ..InputOverride::default() };
    assert!(!settle(&file, &same).expect("settled").from.contains("otherwise"));
    assert_eq!(overruled(&file, &same, [32; 2]), []);
    let turned = InputOverride { channel_order: Some(ChannelOrder::Rgb), ..InputOverride::default() };
    let settled = settle(&file, &turned).expect("settled");
    assert!(settled.order == ChannelOrder::Rgb && settled.from.contains("channel order"), "{settled:?}");
    assert!(settled.from.ends_with("the checkpoint says otherwise: blue first (config.json)"), "{settled:?}");
    assert_eq!(overruled(&file, &turned, [32; 2]), [Overruled::ChannelOrder]);
    assert_eq!(overruled(&nothing, &turned, [32; 2]), []);
    // A file that has such words in its own name says nothing by them.
    let named = Preprocessing { from: "assumed: the checkpoint says otherwise: config.json".into(), ..settled };
    let named = Found { preprocessing: Some(named), ..nothing.clone() };
    assert_eq!(overruled(&named, &InputOverride::default(), [32; 2]), []);
    assert_eq!(overruled(&named, &user, [32; 2]), [Overruled::Normalisation]);
    let zero = InputOverride { std: Some([0.0; 3]), ..InputOverride::default() };
    assert!(settle(&nothing, &zero).is_err());
}

#[test]
fn a_geometry_follows_the_size_and_the_policy() {
    let how = Geometry { filter: Filter::Bicubic, ..Geometry::default() };
    let of = |before| Found { geometry: Some(FoundGeometry { how, before, from: "config.json".into() }), ..Found::default() };
    let at = |before, side: usize| settle_geometry(&of(before), &InputOverride::default(), [side; 2]);
    assert_eq!(at(Before::Share(0.875), 224).0.before_crop, Some([256, 256]));
    assert_eq!(at(Before::Share(0.9), 224).0.before_crop, Some([248, 248]));
    assert_eq!(at(Before::Share(1.0), 224).0.before_crop, None);
    assert_eq!(at(Before::Pixels([256; 2], [224; 2]), 224), (Geometry { before_crop: Some([256; 2]), ..how }, "config.json".into()));
    // A network of another size than the file is for keeps the proportion, and is told.
    let other = Found { size: Some([224; 2]), ..of(Before::Pixels([256; 2], [224; 2])) };
    let (scaled, from) = settle_geometry(&other, &InputOverride::default(), [448; 2]);
    assert_eq!((scaled.before_crop, from.as_str()), (Some([512; 2]), "config.json, which is for 224x224 pixels"));
    let (assumed, from) = settle_geometry(&Found::default(), &InputOverride::default(), [32; 2]);
    assert!(assumed == Geometry::default() && from.starts_with("assumed"), "{from}");
    let user = InputOverride { geometry: Some(Geometry::default()), ..InputOverride::default() };
    let (asked, from) = settle_geometry(&of(Before::Same), &user, [32; 2]);
    assert!(asked == Geometry::default() && from.contains("the checkpoint says otherwise") && from.contains("bicubic"), "{from}");
    assert_eq!(overruled(&of(Before::Same), &user, [32; 2]), [Overruled::Geometry]);
    assert_eq!(overruled(&Found::default(), &user, [32; 2]), []);
}

/// A file of neither library is no place where numbers of another range pass, or fields are passed over.
#[test]
fn a_plain_config_is_read_as_strictly_as_a_librarys() {
    for (config, wanted) in [
        (json!({"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}), "that of another range"),
        (json!({"mean": [0, 0, 0], "std": [255, 255, 255]}), "rescaled twice"),
        (json!({"mean": [0.5, 0.5, 0.5], "std": [1e-20, 1, 1]}), "numbers of more than 300"),
        (json!({"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "channel_order": "bgr"}), "`channel_order`"),
        (json!({"mean": 0.5, "std": 0.5, "crop_mode": "zoom"}), "`crop_mode`"),
    ] {
        let told = beside_a_model(&[("config.json", &config.to_string())], &[]).expect_err("refused").to_string();
        assert!(told.starts_with("config.json: ") && told.contains(wanted), "{config}: {told}");
    }
    let config = json!({"mean": 0.5, "std": 0.25, "input_size": [3, 32, 32], "crop_pct": 0.5, "crop_mode": "squash", "num_classes": 5});
    let found = beside_a_model(&[("config.json", &config.to_string())], &[]).expect("read");
    let geometry = found.geometry.as_ref().expect("stated").at([32, 32]).0;
    assert_eq!((geometry.resize, geometry.before_crop), (Resize::Squash, Some([64, 64])));
    // What Transformers writes of a network is not about images.
    let found = beside_a_model(&[("config.json", &json!({"model_type": "vit", "std": 3, "mean": "pooled"}).to_string())], &[]);
    assert!(found.is_err() || found.is_ok_and(|found| found.preprocessing.is_none()));
    let own = [("heirloom.mean", "[123.675,116.28,103.53]"), ("heirloom.std", "[58.395,57.12,57.375]")];
    let told = beside_a_model(&[], &own).expect_err("refused").to_string();
    assert!(told.starts_with("the checkpoint's metadata: ") && told.contains("another range"), "{told}");
}

fn spec(channels: usize, [height, width]: [usize; 2], user: &InputOverride) -> InputSpec {
    let found = Found::default();
    let preprocessing = settle(&found, user).expect("settled");
    let (geometry, geometry_from) = settle_geometry(&found, user, [height, width]);
    let overruled = overruled(&found, user, [height, width]);
    InputSpec { channels, height, width, layout: Layout::Nchw, preprocessing, geometry, geometry_from, overruled }
}

#[test]
fn a_normalisation_is_told_for_the_channels_that_there_are() {
    let assumed = "(assumed: ImageNet's; say otherwise under `input: { mean: ..., std: ... }` in the policy)";
    let told = |channels| spec(channels, [32, 32], &InputOverride::default()).normalised();
    assert_eq!(told(3), format!("mean 0.485 0.456 0.406, std 0.229 0.224 0.225 {assumed}"));
    assert_eq!(told(1), format!("mean 0.485, std 0.229 {assumed}"));
    // The order of colours means nothing where there are none.
    let turned = InputOverride { channel_order: Some(ChannelOrder::Bgr), ..InputOverride::default() };
    assert!(spec(3, [32, 32], &turned).normalised().contains("0.225, blue first (channel order: the policy's `input`"));
    assert!(!spec(1, [32, 32], &turned).normalised().contains("blue"));
    // A contradiction too.
    let mut gray = spec(1, [32, 32], &InputOverride::default());
    gray.overruled = vec![Overruled::Normalisation];
    assert!(gray.warnings()[0].starts_with("images are normalised by mean [0.485] and std [0.229]"), "{:?}", gray.warnings());
}

#[test]
fn a_small_middle_is_told() {
    let before = |resize, size| {
        let geometry = Geometry { resize, before_crop: Some(size), ..Geometry::default() };
        spec(3, [32, 32], &InputOverride { geometry: Some(geometry), ..InputOverride::default() }).warnings()
    };
    assert_eq!(
        before(Resize::ShortestEdge, [256, 256]),
        [
            "the network sees 1.6% of an image's area: `before_crop` resizes images to 256x256, and only the middle 32x32 is cut out (the policy's \
          `input`)"
        ]
    );
    assert_eq!(before(Resize::Squash, [65, 64]).len(), 1);
    // A quarter is enough; images that are not resized are as large as they are.
    assert_eq!(before(Resize::ShortestEdge, [64, 64]), [""; 0]);
    assert_eq!(before(Resize::ShortestEdge, [16, 16]), [""; 0]);
    assert_eq!(before(Resize::CropOnly, [256, 256]), [""; 0]);
    assert_eq!(spec(3, [32, 32], &InputOverride::default()).warnings(), [""; 0]);
}
